"""Kernels for a GPU that multiply a few rows by quantized weights.

Each program computes ``_ROWS`` outputs of one row of x, reading long contiguous stretches of the weight.  Programs for
the same part of the weight have neighbouring ids, so that they run together and all but the first read it from the
GPU's cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 4
_COLUMNS = 1024


def multiply_int8(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """Multiply [M, K] by int8 [N, K] with a scale for each row [N] to [M, N]."""
    m, k, n = *x.shape, len(packed)
    out = x.new_empty(m, n)
    with torch.cuda.device_of(x):
        _int8[m * triton.cdiv(n, _ROWS),](x.contiguous(), packed, scales, out, m, n, k, _ROWS, _COLUMNS)
    return out


def multiply_int4(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """Multiply [M, K] by uint8 [N, K / 2] with scales and zeros [K / group, N, 2] to [M, N]; see ``Int4Linear``."""
    m, k, n = *x.shape, len(packed)
    group = k // len(scales)
    out = x.new_empty(m, n)
    grid = (m * triton.cdiv(n, _ROWS),)
    with torch.cuda.device_of(x):
        _int4[grid](x.contiguous(), packed, scales, out, m, n, k // 2, _ROWS, _COLUMNS // group, group)
    return out


@triton.jit
def _int8(x, weight, scales, out, m, n, k, rows: tl.constexpr, columns: tl.constexpr):
    row = tl.program_id(0) % m
    at = tl.program_id(0) // m * rows + tl.arange(0, rows)
    there = at < n
    lines = weight + at.to(tl.int64)[:, None] * k
    total = tl.zeros([rows, columns], dtype=tl.float32)
    for start in range(0, k, columns):
        column = start + tl.arange(0, columns)
        inside = column < k
        values = tl.load(x + row * k + column, mask=inside, other=0.0).to(tl.float32)
        integers = tl.load(lines + column[None, :], mask=there[:, None] & inside[None, :], other=0)
        total += integers.to(tl.float32) * values[None, :]
    scale = tl.load(scales + at, mask=there, other=0.0).to(tl.float32)
    tl.store(out + row * n + at, tl.sum(total, axis=1) * scale, mask=there)


@triton.jit
def _int4(x, weight, scales, out, m, n, half, rows: tl.constexpr, groups: tl.constexpr, group: tl.constexpr):
    row = tl.program_id(0) % m
    at = tl.program_id(0) // m * rows + tl.arange(0, rows)
    there = at < n
    first = x + row * 2 * half
    lines = weight + at.to(tl.int64)[:, None, None] * half
    total = tl.zeros([rows, groups], dtype=tl.float32)
    for start in range(0, half // group, groups):
        number = start + tl.arange(0, groups)
        inside = number < half // group
        column = number[:, None] * group + tl.arange(0, group)[None, :]
        both = there[:, None] & inside[None, :]
        low = tl.load(first + column, mask=inside[:, None], other=0.0).to(tl.float32)
        high = tl.load(first + half + column, mask=inside[:, None], other=0.0).to(tl.float32)
        integers = tl.load(lines + column[None, :, :], mask=both[:, :, None], other=0)
        low_scale = scales + (number[None, :] * n + at[:, None]) * 2
        high_scale = low_scale + half // group * n * 2
        total += _scaled((integers & 15).to(tl.float32), low, low_scale, both)
        total += _scaled((integers >> 4).to(tl.float32), high, high_scale, both)
    tl.store(out + row * n + at, tl.sum(total, axis=1), mask=there)


@triton.jit
def _scaled(integers, values, scales, both):
    # Σ x·((q - 8)·scale + zero) = scale · Σ x·(q - 8) + zero · Σ x, for each group of columns.
    scale = tl.load(scales, mask=both, other=0.0).to(tl.float32)
    zero = tl.load(scales + 1, mask=both, other=0.0).to(tl.float32)
    product = tl.sum((integers - 8) * values[None, :, :], axis=2)
    return product * scale + tl.sum(values, axis=1)[None, :] * zero
