"""Which kernels for quantized weights this machine has: Triton's on a GPU, Numba's on a CPU.

Both are compiled when they are first needed.  Where a compiler is missing, torch's own operations do the work.
"""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from vita_demo.model.ops.cpu_profile import choose, cpu_profile

logger = logging.getLogger("vita_demo.model.quantize.kernels")

# Above this many rows, dequantizing once beats a kernel that re-reads the weight for each row.
MAX_GPU_KERNEL_ROWS = 16

Product = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Multiplies a few rows [M, K] by a layer's ``packed`` and ``scales`` to [M, N]; on the CPU to float32."""
Dequantizer = Callable[[Tensor, Tensor, torch.dtype], Tensor]
"""Turns some rows of a layer's ``packed`` and ``scales`` into a weight [R, K]."""


class TritonProduct(Protocol):
    """A product that can also apply a norm, gate its sums, and add a bias or residual to a single row."""

    def __call__(  # noqa: PLR0913 - what a decode step fuses into a product
        self,
        x: Tensor,
        packed: Tensor,
        scales: Tensor,
        *,
        norm: Tensor | None = None,
        eps: float = 0.0,
        addend: Tensor | None = None,
        gated: bool = False,
    ) -> Tensor:
        """See ``multiply_int4`` of the Triton kernels."""


@cache
def triton_products(device: torch.device) -> Mapping[str, TritonProduct]:
    """Import the GPU's kernels and try one.

    Returns:
        A product for each format; none, with one warning, where Triton or the C compiler that it needs is missing.
    """
    try:
        from vita_demo.model.quantize.triton_kernels import multiply_int4, multiply_int8

        x, scales = (torch.ones(*shape, dtype=torch.bfloat16, device=device) for shape in ((1, 64), (16,)))
        multiply_int8(x, torch.ones(16, 64, dtype=torch.int8, device=device), scales)
    except Exception as error:  # noqa: BLE001 - whatever Triton lacks, torch has a product too
        reason = str(error).split("\n", 1)[0]
        logger.warning("Triton cannot be used (%s): each product on the GPU dequantizes its weights, slowly", reason)
        return {}
    return {"int8": multiply_int8, "int4": multiply_int4}


@cache
def triton_dequantizers(device: torch.device) -> Mapping[str, Dequantizer]:
    """Return what dequantizes each format's weights in one pass; none where ``triton_products`` has none."""
    if not triton_products(device):
        return {}
    from vita_demo.model.quantize.triton_kernels import dequantize_int4, dequantize_int8

    return {"int8": dequantize_int8, "int4": dequantize_int4}


@cache
def numba_product(quantize: str) -> Product | None:
    """Compile the CPU's kernel for "int8" or "int4" weights; None, with a log record, where Numba cannot.

    Compiling takes seconds once, loading from Numba's cache a fraction of one: no answer should wait for either.
    """
    try:
        from vita_demo.model.quantize import numba_kernels

        return numba_kernels.compiled_product(quantize)
    except Exception as error:  # noqa: BLE001 - whatever a compiler lacks, torch has a product too
        logger.info("torch multiplies quantized weights, as Numba cannot (%s)", error)
        return None


def numba_is_faster(quantize: str, time_products: Callable[[Product], tuple[float, float]]) -> bool:
    """Tell whether Numba's kernel for a format works and beats torch's product here; see ``CpuProfile``.

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
