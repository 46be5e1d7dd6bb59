"""A linear layer with a quantized weight: what the formats have in common.

A few rows are multiplied by the integers as they are, since the time goes into reading the weight.  With many rows the
time goes into arithmetic: then the weight is dequantized block by block, for the fast matrix products of its dtype.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from vita_demo.errors import ConfigError
from vita_demo.model.ops.bfloat16_linear import float32_is_faster
from vita_demo.model.quantize.kernels import MAX_GPU_KERNEL_ROWS, triton_dequantizers, triton_products

# Values of a dequantized block.  On a CPU they stay in the cache.  On a GPU a product needs many rows to occupy all of
# it: most matrices of 7 billion weights are one block, and the temporary is at most 256 MiB in 16 bits.
_CPU_BLOCK_VALUES, _CUDA_BLOCK_VALUES = 1 << 19, 1 << 27
# Of so many rows each block but the last has a multiple: cuBLAS is fast where outputs are aligned.
_CUDA_BLOCK_ROWS = 128
# Values that are quantized at once, in float32.
_QUANTIZE_BLOCK_VALUES = 1 << 20
# The kernels for the CPU multiply row by row: from this many rows on, dequantizing is faster.
MIN_CPU_GEMM_ROWS = 32
# A smaller matrix is multiplied in less time than it takes to start a kernel on all threads.
_LARGE_VALUES = 1 << 19


class QuantizedLinear(nn.Module, ABC):
    """``nn.Linear`` for inference with a quantized weight [N, K].

    Attributes:
        packed: the integers, laid out as the format describes.
        scales: bfloat16.  Values were divided by the rounded scales, so that rounding them costs no accuracy.
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
        """Make a layer with the shape, device and bias of ``linear`` and no weight yet; see ``quantize``."""
        return cls(linear.out_features, linear.in_features, linear.bias, linear.weight.device)

    @property
    def large(self) -> bool:
        """Whether multiplying one row takes as long as reading the weight."""
        return self.out_features * self.in_features >= _LARGE_VALUES

    @property
    def by_triton(self) -> bool:
        """Whether ``packed`` and ``scales`` are laid out for Triton's kernel."""
        return self.packed.is_cuda

    @abstractmethod
    def _allocate(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Make ``packed`` and ``scales`` without values."""

    @abstractmethod
    def quantize(self, rows: slice, values: Tensor) -> None:
        """Set some rows of the weight to ``values`` [R, K], in any order; call ``pack`` after the last."""

    def pack(self) -> None:
        """Repack the integers into the layout that the device's kernel expects, once all rows are set."""

    @abstractmethod
    def dequantize(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows of the weight, [R, K]."""

    @abstractmethod
    def multiply_on_cpu(self, x: Tensor) -> Tensor | None:
        """Multiply [M, K] by the integers to [M, N]; None where dequantizing is faster."""

    def matmul(self, x: Tensor) -> Tensor:
        """Multiply [M, K] by the weight to [M, N], without the bias and in any dtype."""
        if x.device.type == "cpu":
            out = self.multiply_on_cpu(x)
        else:
            products = triton_products(x.device) if len(x) <= MAX_GPU_KERNEL_ROWS else {}
            out = products[self.format](x, self.packed, self.scales) if products else None
        return self._multiply_dequantized(x) if out is None else out

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., K] to [..., N]."""
        out = self.matmul(x.flatten(0, -2)).to(x.dtype)  # [M, N]
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], -1)  # [..., N]

    def _multiply_dequantized(self, x: Tensor) -> Tensor:
        """Multiply [M, K] to [M, N] in the dtype in which the device is fast."""
        cuda = x.device.type == "cuda"
        native = cuda or (x.dtype == torch.bfloat16 and not float32_is_faster())
        x = x if native else x.float()
        out = x.new_empty(len(x), self.out_features)  # [M, N]
        size = (_CUDA_BLOCK_VALUES, _CUDA_BLOCK_ROWS) if cuda else (_CPU_BLOCK_VALUES, 1)
        for rows in row_blocks(self.out_features, self.in_features, *size):
            torch.mm(x, self._dequantize_block(rows, x.dtype).t(), out=out[:, rows])
        return out

    def _dequantize_block(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows of the weight, [R, K], by the device's kernel where it has one."""
        kernels = triton_dequantizers(self.packed.device) if self.by_triton else {}
        if kernels:
            return kernels[self.format](self.packed[rows], self.scales[rows], dtype)
        return self.dequantize(rows, dtype)


def row_blocks(rows: int, columns: int, values: int | None = None, multiple: int = 1) -> Iterator[slice]:
    """Cut a matrix into blocks of whole rows, as equal as possible.

    Args:
        rows: of the matrix.
        columns: of the matrix.
        values: that a block has at most, unless ``multiple`` rows have more; by default what is quantized at once.
        multiple: each block but the last has a multiple of so many rows.
    """
    most = max(1, (values or _QUANTIZE_BLOCK_VALUES) // columns // multiple)
    blocks = -(-rows // (most * multiple))
    step = -(-rows // (blocks * multiple)) * multiple
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
