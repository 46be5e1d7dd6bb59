"""Weights in 4 bits: value = (q - 8) · scale + middle with 0 ≤ q ≤ 15, a scale and a middle for each group of columns.

A byte holds a value of the row's first half in its low bits, and the one as far into the second half in its high
bits.  On the CPU torch's product wants an order of its own, which depends on the processor; this package's wants the
scales of one row side by side.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from vita_demo.model.ops.timing import best_in_turn_s
from vita_demo.model.quantize.kernels import FEW_ROWS, NumbaProduct, numba_is_faster, numba_product, quantized_kernels
from vita_demo.model.quantize.linear import FEW_ROWS_ON_CPU, QuantizedLinear

_MIDDLE, _LARGEST = 8, 15
GROUPS = (128, 64, 32)
# torch packs so many rows together; a block of fewer only at the end.
_CPU_ROWS = 64


class Int4Linear(QuantizedLinear):
    """A linear layer in 4 bits.

    Attributes:
        packed: uint8 [N, K / 2].
        scales: bfloat16 [K / group, N, 2], scale and middle; [2, N, K / group] for this package's product on the CPU.
    """

    format: ClassVar[str] = "int4"
    rows_multiple: ClassVar[int] = 16
    columns_multiple: ClassVar[int] = 2 * GROUPS[-1]
    # Whether the scales of one row stand side by side.
    _by_rows = False

    @property
    def group(self) -> int:
        """Columns that share a scale: the largest of ``GROUPS`` that divides the half of a row."""
        return next(group for group in GROUPS if self.in_features % (2 * group) == 0)

    def _allocate(self, device: torch.device) -> tuple[Tensor, Tensor]:
        packed = torch.empty(self.out_features, self.in_features // 2, dtype=torch.uint8, device=device)
        shape = (self.in_features // self.group, self.out_features, 2)
        return packed, torch.empty(shape, dtype=torch.bfloat16, device=device)

    def fill(self, rows: slice, values: Tensor) -> None:
        """Quantize ``values`` [R, K] into ``rows``."""
        grouped = values.float().view(len(values), -1, self.group)  # [R, K / group, group]
        low, high = grouped.aminmax(dim=2)  # each [R, K / group]
        scale = ((high - low) / _LARGEST).bfloat16().clamp_(min=torch.finfo(torch.bfloat16).tiny)
        middle = (low + _MIDDLE * scale.float()).bfloat16()
        self.scales[:, rows] = torch.stack([scale.t(), middle.t()], dim=-1)  # [K / group, R, 2]
        steps = (grouped - middle.float()[..., None]) / scale.float()[..., None]
        integers = steps.round_().add_(_MIDDLE).clamp_(0, _LARGEST).byte().view(len(values), -1)  # [R, K]
        first, second = integers.chunk(2, dim=1)  # each [R, K / 2]
        self.packed[rows] = first | second << 4

    def settle(self) -> None:
        """Lay the integers or the scales out as the faster product on the CPU wants them."""
        if self.packed.device.type != "cpu":
            return
        if self.large and numba_is_faster("int4", _time_products):
            self.scales = nn.Parameter(self.scales.permute(2, 1, 0).contiguous(), requires_grad=False)
            self._by_rows = True
        else:
            pack_for_torch(self.packed)

    def widen(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows [R, K] as numbers, unless they are laid out for torch's product on the CPU."""
        scales = self.scales[:, rows].permute(1, 2, 0) if self._by_rows else self.scales[:, rows].transpose(0, 1)
        packed, scales = self.packed[rows], scales.to(dtype)  # [R, K / group, 2]
        out = torch.empty(len(packed), self.in_features, dtype=dtype, device=packed.device)  # [R, K]
        grouped = out.view(len(packed), 2, -1, self.group)  # [R, halves, groups, group]
        scale, middle = scales.view(len(packed), 2, -1, 2, 1).unbind(3)  # each [R, halves, groups, 1]
        lowest = middle - _MIDDLE * scale
        for half, integers in enumerate((packed & _LARGEST, packed >> 4)):
            target = grouped[:, half]  # [R, groups, group]
            torch.mul(integers.view_as(target), scale[:, half], out=target)
            target += lowest[:, half]
        return out

    def multiply(self, x: Tensor) -> Tensor | None:
        """Multiply [M, K] to [M, N]; on the CPU torch's product takes any number of rows."""
        if x.device.type == "cpu":
            return self._multiply_on_cpu(x)
        compiled = quantized_kernels() if len(x) <= FEW_ROWS else None
        if compiled is None:
            return None
        product: Tensor = compiled.multiply_int4(x, self.packed, self.scales)
        return product

    def _multiply_on_cpu(self, x: Tensor) -> Tensor | None:
        multiply = numba_product("int4") if self._by_rows else None
        if multiply is None:
            return multiply_with_torch(x, self.packed, self.scales)
        return None if len(x) >= FEW_ROWS_ON_CPU else multiply(x, self.packed, self.scales)


def pack_for_torch(packed: Tensor) -> None:
    """Reorder uint8 [N, K / 2] in place as torch's product on the CPU wants it."""
    for block in torch.split(packed, _CPU_ROWS * 16):
        integers = torch.cat([block & _LARGEST, block >> 4], dim=1)  # [R, K]
        block.copy_(torch.ops.aten._convert_weight_to_int4pack_for_cpu(integers.int(), 1))  # noqa: SLF001


def multiply_with_torch(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """Multiply [M, K] on the CPU in bfloat16, in which alone torch has a fast product, to [M, N]."""
    group = x.shape[1] // len(scales)
    product: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16().contiguous(), packed, group, scales)  # noqa: SLF001
    return product


def _time_products(multiply: NumbaProduct) -> tuple[float, float]:
    """Return the seconds of Numba's product and of torch's, over more weights than the caches hold."""
    x, packed = torch.ones(1, 1024), torch.ones(16384, 512, dtype=torch.uint8)
    scales = torch.ones(8, 16384, 2, dtype=torch.bfloat16)
    by_rows = scales.permute(2, 1, 0).contiguous()
    return best_in_turn_s(lambda: multiply(x, packed, by_rows), lambda: multiply_with_torch(x, packed, scales))
