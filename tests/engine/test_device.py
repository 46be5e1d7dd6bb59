"""Where and in which precision the model runs."""

from collections.abc import Callable

import pytest
import torch

from vita_demo.engine import device
from vita_demo.engine.device import configure, resolve_device, resolve_dtype
from vita_demo.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMALL, LARGE, HUGE = 5_000_000, 500_000_000, 5_000_000_000


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "physical_memory_bytes", lambda: 32 << 30)


@pytest.mark.parametrize(
    ("parameters", "declared", "faster", "expected"),
    [
        (SMALL, "bfloat16", True, torch.float32),
        (LARGE, "bfloat16", True, torch.bfloat16),
        (LARGE, "bfloat16", False, torch.float32),
        (LARGE, "float16", True, torch.float32),
        (HUGE, "bfloat16", False, torch.bfloat16),
        (HUGE, "float32", False, torch.bfloat16),
    ],
)
def test_a_cpu_takes_what_is_quick_and_fits(
    parameters: int, declared: str, faster: bool, expected: torch.dtype, use_profile: Callable[..., None]
) -> None:
    use_profile(decodes_bfloat16=faster)
    assert resolve_dtype("auto", declared, CPU, parameters) == expected


def test_a_gpu_takes_what_the_checkpoint_declares() -> None:
    assert resolve_dtype("auto", "float16", CUDA, SMALL) == torch.float16
    assert resolve_dtype("auto", "", CUDA, SMALL) == torch.bfloat16


def test_a_large_model_in_float16_is_warned_of_on_a_gpu(caplog: pytest.LogCaptureFixture) -> None:
    for parameters, place, dtype in ((LARGE, CUDA, "bfloat16"), (SMALL, CUDA, "float16"), (LARGE, CPU, "float16")):
        resolve_dtype(dtype, "bfloat16", place, parameters)
    assert not caplog.records
    assert resolve_dtype("float16", "bfloat16", CUDA, LARGE) == torch.float16
    [record] = caplog.records
    assert record.getMessage().endswith("give --dtype bfloat16")


def test_a_gpu_is_named_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is that of the calling thread's current device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    names = ("auto", "cuda", "cuda:0", "cpu")
    assert [str(resolve_device(name)) for name in names] == ["cuda:2", "cuda:2", "cuda:0", "cpu"]
    with pytest.raises(InputError, match="--device cuda:3 is not there"):
        resolve_device("cuda:3")


def test_attention_on_a_gpu_is_not_cudnns(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", enabled.append)
    configure(CPU)
    assert not enabled
    configure(CUDA)
    assert enabled == [False]


def test_what_is_asked_for_is_taken() -> None:
    assert resolve_dtype("float32", "bfloat16", CPU, HUGE) == torch.float32
