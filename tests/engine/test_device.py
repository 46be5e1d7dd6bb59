"""Which precision "auto" is."""

from collections.abc import Callable

import pytest
import torch

from vita_demo.engine import device
from vita_demo.engine.device import resolve_dtype
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


def test_what_is_asked_for_is_taken() -> None:
    assert resolve_dtype("float32", "bfloat16", CPU, HUGE) == torch.float32
    with pytest.raises(InputError, match="--dtype half is unknown; give auto, float32, float16, bfloat16"):
        resolve_dtype("half", "bfloat16", CPU, SMALL)
