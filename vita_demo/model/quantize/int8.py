"""The int8 format: weight = q · scale with -127 ≤ q ≤ 127, one scale for each row."""

from typing import ClassVar

import torch
from torch import Tensor

from vita_demo.model.ops.timing import best_in_turn_s
from vita_demo.model.quantize.kernels import Product, numba_is_faster, numba_product
from vita_demo.model.quantize.linear import MIN_CPU_GEMM_ROWS, QuantizedLinear

_LARGEST = 127


class Int8Linear(QuantizedLinear):
    """A linear layer in int8.

    Attributes:
        packed: int8 [N, K].
        scales: bfloat16 [N].
        by_numba: whether Numba's kernel multiplies a few rows on the CPU, else torch's.
    """

    format: ClassVar[str] = "int8"
    rows_multiple: ClassVar[int] = 1
    # torch's kernel reads past the end of rows of other lengths.
    columns_multiple: ClassVar[int] = 32
    by_numba = False

    def _allocate(self, device: torch.device) -> tuple[Tensor, Tensor]:
        packed = torch.empty(self.out_features, self.in_features, dtype=torch.int8, device=device)
        return packed, torch.empty(self.out_features, dtype=torch.bfloat16, device=device)

    def quantize(self, rows: slice, values: Tensor) -> None:
        """Set some rows of the weight to ``values`` [R, K]."""
        values = values.float()
        scales = (values.abs().amax(1) / _LARGEST).bfloat16()  # [R]
        scales.clamp_(min=torch.finfo(torch.bfloat16).tiny)
        self.scales[rows] = scales
        self.packed[rows] = (values / scales.float()[:, None]).round_().clamp_(-_LARGEST, _LARGEST)

    def pack(self) -> None:
        """Choose and compile the CPU's kernel now, as the first answer would wait for it; the layout stays."""
        self.by_numba = self.packed.device.type == "cpu" and self.large and numba_is_faster("int8", _time_products)

    def dequantize(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows of the weight, [R, K]."""
        return torch.mul(self.packed[rows], self.scales[rows, None].to(dtype))

    def multiply_on_cpu(self, x: Tensor) -> Tensor | None:
        """See ``QuantizedLinear``."""
        if len(x) >= MIN_CPU_GEMM_ROWS:
            return None
        multiply = numba_product("int8") if self.by_numba else None
        return (multiply or multiply_with_torch)(x, self.packed, self.scales)


def multiply_with_torch(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """Multiply [M, K] on the CPU to [M, N], in bfloat16: only there torch has a fast kernel."""
    return torch._weight_int8pack_mm(x.bfloat16().contiguous(), packed, scales)  # noqa: SLF001


def _time_products(multiply: Product) -> tuple[float, float]:
    """Return the seconds of Numba's product and of torch's, over more weights than the caches hold."""
    operands = torch.ones(1, 1024), torch.ones(16384, 1024, dtype=torch.int8), torch.ones(16384, dtype=torch.bfloat16)
    return best_in_turn_s(lambda: multiply(*operands), lambda: multiply_with_torch(*operands))
