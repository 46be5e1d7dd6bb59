"""The int4 format: weight = (q - 8) · scale + zero with 0 ≤ q ≤ 15, a scale and a zero for each group of columns.

This is torch's own format: ``zero`` is the weight that q = 8 stands for.  A byte holds q of a column in the row's first
half in its low four bits, and q of the column as far into the second half in its high four bits.  Kernels expect orders
of their own: torch's one that depends on the processor, Numba's the scales of a row side by side, and Triton's words of
eight values of one group.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from vita_demo.model.ops.timing import best_in_turn_s
from vita_demo.model.quantize.kernels import Product, numba_is_faster, numba_product
from vita_demo.model.quantize.linear import MIN_CPU_GEMM_ROWS, QuantizedLinear

_ZERO_POINT, _LARGEST = 8, 15
GROUPS = (128, 64, 32)
# torch packs this many rows together; only the last block may have fewer.
_TORCH_PACK_ROWS = 64
# Bytes that are repacked at once.
_PACK_BYTES = 1 << 20


class Int4Linear(QuantizedLinear):
    """A linear layer in int4.

    Attributes:
        packed: uint8 [N, K / 2].
        scales: bfloat16 [K / group, N, 2], scale and zero; for Numba's kernel on the CPU [2, N, K / group], for
            Triton's on a GPU [N, K / group, 2].
    """

    format: ClassVar[str] = "int4"
    rows_multiple: ClassVar[int] = 16
    columns_multiple: ClassVar[int] = 2 * GROUPS[-1]
    # Whether ``scales`` are laid out for Numba's kernel, which then multiplies a few rows on the CPU.
    _by_numba = False
    _by_triton = False

    @property
    def by_triton(self) -> bool:
        """See ``QuantizedLinear``."""
        return self._by_triton

    @property
    def group(self) -> int:
        """Columns that share a scale: the largest of ``GROUPS`` that divides half a row."""
        return next(group for group in GROUPS if self.in_features % (2 * group) == 0)

    def _allocate(self, device: torch.device) -> tuple[Tensor, Tensor]:
        packed = torch.empty(self.out_features, self.in_features // 2, dtype=torch.uint8, device=device)
        shape = (self.in_features // self.group, self.out_features, 2)
        return packed, torch.empty(shape, dtype=torch.bfloat16, device=device)

    def quantize(self, rows: slice, values: Tensor) -> None:
        """Set some rows of the weight to ``values`` [R, K]."""
        grouped = values.float().view(len(values), -1, self.group)  # [R, K / group, group]
        low, high = grouped.aminmax(dim=2)  # each [R, K / group]
        scale = ((high - low) / _LARGEST).bfloat16().clamp_(min=torch.finfo(torch.bfloat16).tiny)
        zero = (low + _ZERO_POINT * scale.float()).bfloat16()
        self.scales[:, rows] = torch.stack([scale.t(), zero.t()], dim=-1)  # [K / group, R, 2]
        steps = (grouped - zero.float()[..., None]) / scale.float()[..., None]
        integers = steps.round_().add_(_ZERO_POINT).clamp_(0, _LARGEST).byte().view(len(values), -1)  # [R, K]
        first, second = integers.chunk(2, dim=1)  # each [R, K / 2]
        self.packed[rows] = first | second << 4

    def pack(self) -> None:
        """Repack for the kernel that multiplies a few rows: Triton's on a GPU, Numba's or torch's on a CPU."""
        if self.packed.device.type != "cpu":
            self.pack_for_triton()
        elif self.large and numba_is_faster("int4", _time_products):
            self.scales = nn.Parameter(self.scales.permute(2, 1, 0).contiguous(), requires_grad=False)
            self._by_numba = True
        else:
            pack_for_torch(self.packed)

    def pack_for_triton(self) -> None:
        """Repack for Triton's kernel."""
        pack_words(self.packed, self.group)
        self.scales = nn.Parameter(self.scales.transpose(0, 1).contiguous(), requires_grad=False)
        self._by_triton = True

    def dequantize(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows of the weight, [R, K]; not possible where the integers are packed for torch."""
        if self._by_triton:
            return dequantize_words(self.packed[rows], self.scales[rows].to(dtype), self.group)
        scales = self.scales[:, rows].permute(1, 2, 0) if self._by_numba else self.scales[:, rows].transpose(0, 1)
        packed, scales = self.packed[rows], scales.to(dtype)  # [R, K / group, 2]
        out = torch.empty(len(packed), self.in_features, dtype=dtype, device=packed.device)  # [R, K]
        grouped = out.view(len(packed), 2, -1, self.group)  # [R, halves, groups, group]
        scale, zero = scales.view(len(packed), 2, -1, 2, 1).unbind(3)  # each [R, halves, groups, 1]
        lowest = zero - _ZERO_POINT * scale
        for half, integers in enumerate((packed & _LARGEST, packed >> 4)):
            target = grouped[:, half]  # [R, groups, group]
            torch.mul(integers.view_as(target), scale[:, half], out=target)
            target += lowest[:, half]
        return out

    def multiply_on_cpu(self, x: Tensor) -> Tensor | None:
        """See ``QuantizedLinear``; torch's kernel takes any number of rows."""
        multiply = numba_product("int4") if self._by_numba else None
        if multiply is None:
            return multiply_with_torch(x, self.packed, self.scales)
        return None if len(x) >= MIN_CPU_GEMM_ROWS else multiply(x, self.packed, self.scales)


def pack_for_torch(packed: Tensor) -> None:
    """Repack uint8 [N, K / 2] in place into the order that torch's kernel for this CPU expects."""
    for block in torch.split(packed, _TORCH_PACK_ROWS * 16):
        integers = torch.cat([block & _LARGEST, block >> 4], dim=1)  # [R, K]
        block.copy_(torch.ops.aten._convert_weight_to_int4pack_for_cpu(integers.int(), 1))  # noqa: SLF001


def pack_words(packed: Tensor, group: int) -> None:
    """Repack uint8 [N, K / 2] in place into words of 32 bits, group / 8 of them for each group of columns.

    The word w of a group holds q of its columns w, w + group / 8, w + 2 · group / 8, … from the low bits up.
    """
    for block in torch.split(packed, max(1, _PACK_BYTES // packed.shape[1])):
        integers = torch.cat([block & _LARGEST, block >> 4], dim=1).int()  # [R, K]
        eighths = integers.view(len(block), -1, 8, group // 8) << _shifts(packed.device)  # [R, groups, 8, group / 8]
        words = eighths.sum(2, dtype=torch.int32)  # [R, groups, group / 8]
        block.copy_(words.view(torch.uint8).view_as(block))


def dequantize_words(packed: Tensor, scales: Tensor, group: int) -> Tensor:
    """Return the weight [N, K] of what ``pack_words`` packed, in the dtype of its scales [N, K / group, 2]."""
    words = packed.view(torch.int32).view(len(packed), -1, 1, group // 8)  # [N, groups, 1, group / 8]
    integers = (words >> _shifts(packed.device)) & _LARGEST  # [N, groups, 8, group / 8]
    scale, zero = scales[..., None, None].unbind(2)  # each [N, groups, 1, 1]
    return torch.mul(integers, scale).add_(zero - _ZERO_POINT * scale).view(len(packed), -1)


def _shifts(device: torch.device) -> Tensor:
    return torch.arange(0, 32, 4, dtype=torch.int32, device=device)[:, None]  # [8, 1]


def multiply_with_torch(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """Multiply [M, K] on the CPU to [M, N], in bfloat16: only there torch has a fast kernel."""
    group = x.shape[1] // len(scales)
    out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16().contiguous(), packed, group, scales)  # noqa: SLF001
    return out


def _time_products(multiply: Product) -> tuple[float, float]:
    """Return the seconds of Numba's product and of torch's, over more weights than the caches hold."""
    x, packed = torch.ones(1, 1024), torch.ones(16384, 512, dtype=torch.uint8)
    scales = torch.ones(8, 16384, 2, dtype=torch.bfloat16)
    by_rows = scales.permute(2, 1, 0).contiguous()
    return best_in_turn_s(lambda: multiply(x, packed, by_rows), lambda: multiply_with_torch(x, packed, scales))
