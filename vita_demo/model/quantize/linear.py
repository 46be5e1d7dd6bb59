"""A linear layer whose weight is held in few bits; what the formats share.

Few rows are multiplied with the small integers straight, since their time goes into reading the weight.  With many
rows the weight is widened a block at a time: the products then cost more than the widening.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from vita_demo.errors import ConfigError
from vita_demo.model.ops.bfloat16_linear import float32_is_faster

# Values of a widened block: what stays in a processor's cache, and what is little of a GPU's memory.
_CPU_BLOCK, _CUDA_BLOCK = 1 << 19, 1 << 24
# Values that are quantized at once, in float32.
_FILL_BLOCK = 1 << 20
# On the CPU products multiply each row by itself; from here on matrices of numbers are faster.
FEW_ROWS_ON_CPU = 32
# Of a matrix with fewer values starting a product takes as long as the product.
_LARGE = 1 << 19


class QuantizedLinear(nn.Module, ABC):
    """``nn.Linear`` for inference with a quantized weight [N, K].

    Attributes:
        packed: the integers, in the order of the format.
        scales: bfloat16; the integers were rounded to these, so that their own rounding costs nothing.
        bias: [N], or None.

    Raises:
        ConfigError: when the format takes no matrix of this shape.
    """

    format: ClassVar[str]
    rows_multiple: ClassVar[int]
    columns_multiple: ClassVar[int]

    def __init__(self, out_features: int, in_features: int, bias: nn.Parameter | None, device: torch.device) -> None:
        super().__init__()
        if out_features % self.rows_multiple or in_features % self.columns_multiple:
            raise ConfigError(
                f"--quantize {self.format} takes matrices with a multiple of {self.rows_multiple} rows and "
                f"{self.columns_multiple} columns, not {out_features:,} × {in_features:,}; leave --quantize out"
            )
        self.out_features, self.in_features, self.bias = out_features, in_features, bias
        packed, scales = self._allocate(device)
        self.packed = nn.Parameter(packed, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)

    @classmethod
    def like(cls, linear: nn.Linear) -> Self:
        """Make an unfilled layer in the place of ``linear``, with its bias."""
        return cls(linear.out_features, linear.in_features, linear.bias, linear.weight.device)

    @property
    def large(self) -> bool:
        """Whether the time of a product is that of reading the weight."""
        return self.out_features * self.in_features >= _LARGE

    @abstractmethod
    def _allocate(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Make ``packed`` and ``scales``, unfilled."""

    @abstractmethod
    def fill(self, rows: slice, values: Tensor) -> None:
        """Quantize ``values`` [R, K] into ``rows``; each row stands for itself."""

    def settle(self) -> None:
        """Lay the integers out for the device, once all rows are filled."""

    @abstractmethod
    def widen(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows [R, K] as numbers."""

    @abstractmethod
    def multiply(self, x: Tensor) -> Tensor | None:
        """Multiply [M, K] with the integers to [M, N]; None where widening them is faster."""

    def product(self, x: Tensor) -> Tensor:
        """Multiply [M, K] to [M, N] without the bias, in any dtype."""
        found = self.multiply(x)
        return self._multiply_widened(x) if found is None else found

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., K] to [..., N]."""
        out = self.product(x.flatten(0, -2)).to(x.dtype)  # [M, N]
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], -1)  # [..., N]

    def _multiply_widened(self, x: Tensor) -> Tensor:
        """Multiply [M, K] in the dtype in which the device is fast to [M, N]."""
        cuda = x.device.type == "cuda"
        keep = cuda or (x.dtype == torch.bfloat16 and not float32_is_faster())
        x = x if keep else x.float()
        out = x.new_empty(len(x), self.out_features)  # [M, N]
        for rows in row_blocks(self.out_features, self.in_features, _CUDA_BLOCK if cuda else _CPU_BLOCK):
            torch.mm(x, self.widen(rows, x.dtype).t(), out=out[:, rows])
        return out


def row_blocks(rows: int, columns: int, values: int | None = None) -> Iterator[slice]:
    """Cut a matrix into blocks of whole rows of at most so many ``values``, by default what is quantized at once."""
    step = max(1, (values or _FILL_BLOCK) // columns)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
