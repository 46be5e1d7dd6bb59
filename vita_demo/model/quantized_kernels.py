"""The Triton kernels for quantized weights, where there is Triton."""

import logging
from functools import cache
from types import ModuleType

logger = logging.getLogger("vita_demo.model.quantized")

# Each row reads the weight from the GPU's cache again; from here on widening it once is faster.
FEW_ROWS = 16


@cache
def kernels() -> ModuleType | None:
    """Import the kernels; None, with one notice, where Triton is missing."""
    try:
        from vita_demo.model import quantized_triton
    except ImportError:
        logger.warning(
            "without Triton each product on the GPU widens its weights first, which is slow: pip install triton"
        )
        return None
    return quantized_triton
