"""Compiles the decode step's Triton kernels in a thread while the weights are loaded.

Triton specializes a kernel for dtypes, for a few constants, and for whether sizes are multiples of 16.  So a model of
one small layer with the same heads needs the same kernels as the large one.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import torch

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.decode.gpu_step import faster_steps
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.quantize.replace import quantize_in_place

_POSITIONS = 64
# Two of the largest groups of int4, so that the small model has the groups of a large one.
_INTERMEDIATE = 256


@contextmanager
def kernels_compiled_beside(
    config: TextConfig, device: torch.device, dtype: torch.dtype, quantize: str | None
) -> Iterator[None]:
    """Compile the kernels for a GPU in a thread, and wait for it at the end; on a CPU do nothing."""
    if device.type != "cuda":
        yield
        return
    # Errors are ignored here: they come again at the first step, which warns and falls back.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(compile_kernels, config, device, dtype, quantize)
        yield


@torch.inference_mode()
def compile_kernels(config: TextConfig, device: torch.device, dtype: torch.dtype, quantize: str | None) -> None:
    """Take one step of a small model that needs the same kernels as a model of ``config``."""
    model = LanguageModel(small_as(config)).to(device, dtype)
    if quantize is not None:
        quantize_in_place(model, quantize)
    cache, zero = model.allocate_cache(_POSITIONS), torch.zeros(1, dtype=torch.long, device=device)
    for step in faster_steps(model, kernels=True, compiled=False):
        step(model, cache, zero, _POSITIONS)(zero)


def small_as(config: TextConfig) -> TextConfig:
    """Return the shape of a small model whose sizes are multiples of 16 wherever those of ``config`` are."""
    return replace(
        config,
        num_hidden_layers=1,
        intermediate_size=_INTERMEDIATE + config.intermediate_size % 16,
        vocab_size=16 + config.vocab_size % 16,
    )
