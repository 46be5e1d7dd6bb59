"""The Triton kernels, where there is Triton."""

import logging
from functools import cache
from types import ModuleType

import torch

logger = logging.getLogger("vita_demo.model.kernels")

# Each row reads a quantized weight from the GPU's cache again; from here on widening it once is faster.
FEW_ROWS = 16


@cache
def quantized_kernels() -> ModuleType | None:
    """Import the kernels for quantized weights; None, with one notice, where Triton is missing."""
    try:
        from vita_demo.model import quantized_triton
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

        from vita_demo.model import step_triton
    except ImportError:
        return None
    runs = device.type == "cuda" or knobs.runtime.interpret
    # Blocks have sizes of powers of two, and a matrix product at least so many columns.
    return step_triton if runs and head_dim >= 16 and head_dim & (head_dim - 1) == 0 else None
