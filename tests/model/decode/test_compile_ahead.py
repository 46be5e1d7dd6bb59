"""What is compiled while the weights are loaded is what the steps need."""

from dataclasses import replace

import pytest
import torch

from tests.model.fakes import SMALL
from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.decode import compile_ahead as kernel_warm_up
from vita_demo.model.decode.compile_ahead import compile_kernels, kernels_compiled_beside
from vita_demo.model.decode.gpu_step import GpuStep
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.quantize.replace import quantize_in_place

pytest.importorskip("triton", reason="needs Triton")
CPU = torch.device("cpu")


class Kernel:
    """Stands in for a kernel and notes for what Triton would compile it."""

    def __init__(self, seen: set[tuple]) -> None:
        self.seen = seen

    def __getitem__(self, _grid: object) -> "Kernel":
        return self

    def __call__(self, *args: object) -> None:
        self.seen.add(tuple(map(self._kind, args)))

    @staticmethod
    def _kind(arg: object) -> object:
        if isinstance(arg, torch.Tensor):
            return arg.dtype, arg.data_ptr() % 16 == 0
        # Of a size it is compiled for whether it is a multiple of 16.
        return arg % 16 == 0 if isinstance(arg, int) and arg >= 16 else arg


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[tuple]:
    from vita_demo.model.decode import triton_kernels as step_triton
    from vita_demo.model.quantize import triton_kernels as quantized_triton

    found: set[tuple] = set()
    for module in (step_triton, quantized_triton):
        for name in ("_multiply", "_attend", "_combine", "_int8", "_int4"):
            monkeypatch.setattr(module, name, Kernel(found), raising=False)
    return found


@torch.inference_mode()
def take_a_step(config: TextConfig, dtype: torch.dtype, quantize: str | None) -> None:
    model = LanguageModel(config).to(dtype)
    if quantize is not None:
        quantize_in_place(model, quantize)
    step = GpuStep(model, model.allocate_cache(1024), lambda call: call)
    step(torch.zeros(1, dtype=torch.long))


@pytest.mark.skipif(torch.cuda.is_available(), reason="looks at kernels that Triton would interpret")
@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, vocab_size=1008, intermediate_size=704, num_key_value_heads=1, num_hidden_layers=1)],
)
def test_all_kernels_of_a_step_are_compiled_beforehand(
    config: TextConfig, quantize: str | None, seen: set[tuple]
) -> None:
    take_a_step(config, torch.bfloat16, quantize)
    needed = set(seen)
    assert needed
    seen.clear()
    compile_kernels(config, CPU, torch.bfloat16, quantize)
    assert seen == needed


def test_only_for_a_gpu_is_anything_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[torch.device] = []
    monkeypatch.setattr(kernel_warm_up, "compile_kernels", lambda _config, device, *_: calls.append(device))
    for device in (CPU, torch.device("cuda", 0)):
        with kernels_compiled_beside(SMALL, device, torch.bfloat16, None):
            pass
    assert calls == [torch.device("cuda", 0)]
