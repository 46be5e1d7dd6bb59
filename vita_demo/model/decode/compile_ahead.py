"""Compiles a step's Triton kernels before there are weights: seconds that loading takes anyway.

Triton compiles for dtypes, for a few constants, and for sizes that are multiples of 16 or not.  So a model of one small
layer with the same heads needs the same kernels as the large one.
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
# The larger a quantized format's groups may be, the more columns it takes to fill two.
_INTERMEDIATE = 256


@contextmanager
def kernels_compiled_beside(
    config: TextConfig, device: torch.device, dtype: torch.dtype, quantize: str | None
) -> Iterator[None]:
    """Compile in a thread what steps on a GPU will need, and wait for it at the end."""
    if device.type != "cuda":
        yield
        return
    # What fails here fails again at the first step, which says so and goes on without.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(compile_kernels, config, device, dtype, quantize)
        yield


@torch.inference_mode()
def compile_kernels(config: TextConfig, device: torch.device, dtype: torch.dtype, quantize: str | None) -> None:
    """Take one step of a small model that needs the kernels of a large one."""
    model = LanguageModel(small_as(config)).to(device, dtype)
    if quantize is not None:
        quantize_in_place(model, quantize)
    cache, zero = model.allocate_cache(_POSITIONS), torch.zeros(1, dtype=torch.long, device=device)
    for step in faster_steps(model, kernels=True, compiled=False):
        step(model, cache, zero, _POSITIONS)(zero)


def small_as(config: TextConfig) -> TextConfig:
    """Return the shape of a small model whose sizes are multiples of 16 where those of ``config`` are."""
    return replace(
        config,
        num_hidden_layers=1,
        intermediate_size=_INTERMEDIATE + config.intermediate_size % 16,
        vocab_size=16 + config.vocab_size % 16,
    )
