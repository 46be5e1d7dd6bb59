"""Kernels that are compiled on the machine: Triton's for GPUs, and Numba's for CPUs."""

import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType

import torch

from vita_demo.model.ops.timing import best_s

logger = logging.getLogger("vita_demo.model.quantize.kernels")

# Each row reads a quantized weight from the GPU's cache again; from here on widening it once is faster.
FEW_ROWS = 16


@cache
def quantized_kernels() -> ModuleType | None:
    """Import the kernels for quantized weights; None, with one notice, where Triton is missing."""
    try:
        from vita_demo.model.quantize import triton_kernels as quantized_triton
    except ImportError:
        logger.warning(
            "without Triton each product on the GPU widens its weights first, which is slow: pip install triton"
        )
        return None
    return quantized_triton


@cache
def step_kernels(device: torch.device, head_dim: int) -> ModuleType | None:
    """Import the kernels for a decode step; None where Triton is missing, or works for no such device or heads."""
    try:
        from triton import knobs

        from vita_demo.model.decode import triton_kernels as step_triton
    except ImportError:
        return None
    runs = device.type == "cuda" or knobs.runtime.interpret
    # Blocks have sizes of powers of two, and a matrix product at least so many columns.
    return step_triton if runs and head_dim >= 16 and head_dim & (head_dim - 1) == 0 else None


def numba_kernels(own: Callable[[ModuleType], object], torchs: Callable[[], object]) -> ModuleType | None:
    """Import the CPU's kernels for quantized weights, if they are faster than torch's; else return None.

    Args:
        own: takes the module and multiplies with it.
        torchs: multiplies the same with torch.
    """
    try:
        from vita_demo.model.quantize import numba_kernels as quantized_numba

        own(quantized_numba)
    except Exception as error:  # noqa: BLE001 - whatever a compiler lacks, torch has a product too
        logger.info("torch multiplies quantized weights, as Numba cannot (%s)", error)
        return None
    # In turn, so that what else the machine does meets both.
    times = [(best_s(lambda: own(quantized_numba)), best_s(torchs)) for _ in range(3)]
    own_s, torchs_s = map(min, zip(*times, strict=True))
    return quantized_numba if own_s < torchs_s else None
