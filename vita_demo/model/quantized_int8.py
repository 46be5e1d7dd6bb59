"""Weights in 8 bits: value = q · scale with -127 ≤ q ≤ 127 and one scale for each row."""

from typing import ClassVar

import torch
from torch import Tensor

from vita_demo.model.kernels import FEW_ROWS, quantized_kernels
from vita_demo.model.quantized_linear import QuantizedLinear

_LARGEST = 127
# On the CPU torch's product multiplies each row by itself; from here on matrices of numbers are faster.
_FEW_ROWS_ON_CPU = 32


class Int8Linear(QuantizedLinear):
    """A linear layer in 8 bits.

    Attributes:
        packed: int8 [N, K].
        scales: bfloat16 [N].
    """

    name: ClassVar[str] = "int8"
    rows_multiple: ClassVar[int] = 1
    # torch's product reads past the end of rows of other lengths.
    columns_multiple: ClassVar[int] = 32

    def _allocate(self, device: torch.device) -> tuple[Tensor, Tensor]:
        packed = torch.empty(self.out_features, self.in_features, dtype=torch.int8, device=device)
        return packed, torch.empty(self.out_features, dtype=torch.bfloat16, device=device)

    def fill(self, rows: slice, values: Tensor) -> None:
        """Quantize ``values`` [R, K] into ``rows``."""
        values = values.float()
        scales = (values.abs().amax(1) / _LARGEST).bfloat16()  # [R]
        scales.clamp_(min=torch.finfo(torch.bfloat16).tiny)
        self.scales[rows] = scales
        self.packed[rows] = (values / scales.float()[:, None]).round_().clamp_(-_LARGEST, _LARGEST)

    def widen(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows [R, K] as numbers."""
        return torch.mul(self.packed[rows], self.scales[rows, None].to(dtype))

    def multiply(self, x: Tensor) -> Tensor | None:
        """Multiply a few rows [M, K] to [M, N], on the CPU in bfloat16, which alone has a fast product there."""
        if x.device.type == "cpu":
            if len(x) >= _FEW_ROWS_ON_CPU:
                return None
            return torch._weight_int8pack_mm(x.bfloat16().contiguous(), self.packed, self.scales)  # noqa: SLF001
        compiled = quantized_kernels() if len(x) <= FEW_ROWS else None
        if compiled is None:
            return None
        product: Tensor = compiled.multiply_int8(x, self.packed, self.scales)
        return product
