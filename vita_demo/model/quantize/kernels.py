"""Kernels that are compiled on the machine: Triton's for GPUs, and Numba's for CPUs."""

import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType

from torch import Tensor

from vita_demo.model.ops.cpu_profile import choose, cpu_profile

NumbaProduct = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Multiplies a few rows [M, K] with a layer's ``packed`` and ``scales`` on the CPU to float32 [M, N]."""

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
def numba_product(quantize: str) -> NumbaProduct | None:
    """Compile the CPU's kernel for "int8" or "int4" weights now; None, with a log record, where Numba cannot.

    Compiling takes seconds once, and loading from Numba's cache a fraction of one later: the first answer must not wait
    for either.
    """
    try:
        from vita_demo.model.quantize import numba_kernels

        return numba_kernels.compiled_product(quantize)
    except Exception as error:  # noqa: BLE001 - whatever a compiler lacks, torch has a product too
        logger.info("torch multiplies quantized weights, as Numba cannot (%s)", error)
        return None


def numba_is_faster(quantize: str, time_products: Callable[[NumbaProduct], tuple[float, float]]) -> bool:
    """Tell whether Numba's kernel for a format is there and beats torch's product here; see ``CpuProfile``.

    Args:
        quantize: "int8" or "int4".
        time_products: takes Numba's product; returns its seconds and those of torch's.
    """
    choice = f"{quantize}_by_numba"
    # Where torch is known to be faster, nothing is compiled.
    if cpu_profile().choices.get(choice) is False:
        return False
    product = numba_product(quantize)
    return product is not None and choose(choice, lambda: time_products(product))
