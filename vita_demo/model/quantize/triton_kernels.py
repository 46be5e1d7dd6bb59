"""Kernels for a GPU that multiply a few rows by quantized weights, or dequantize them in one pass.

In a product each program computes some outputs of one row of x, reading long contiguous stretches of the weight.
Programs for the same part of the weight have neighbouring ids, so that they run together and all but the first read it
from the GPU's cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vita_demo.model.ops.triton_kernels import rows_of, store_sums

# Tiles of a program, the fastest of some twenty for each matrix of VITA-1.5 on an H200.  Its rows of 3,584 columns are
# too short for wide ones, which end with idle threads.
_INT8_ROWS = 4
_SHORT_COLUMNS, _SHORT_TILE, _LONG_TILE = 8192, 512, 1024
# In int4 unpacking takes longer than reading: more rows share what is done for x.
_INT4_ROWS, _INT4_WORDS, _INT4_WARPS = 8, 256, 2
# Two of a word's four-bit values, where a float32's mantissa begins and where it has the next four bits.
_HIGH_BITS, _LOW_BITS = 0x780000, 0x078000
# What a program dequantizes: 32 values a thread.  Rows are often multiples of 512 columns.
_DEQUANTIZE_ROWS, _DEQUANTIZE_COLUMNS, _DEQUANTIZE_WORDS = 8, 512, 64


def multiply_int8(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    *,
    norm: Tensor | None = None,
    eps: float = 0.0,
    addend: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """Multiply [M, K] by int8 [N, K] with a scale for each row [N] to [M, N]; see ``multiply_int4``."""
    m, k, n, outputs = *x.shape, *_count(packed, _INT8_ROWS, gated)
    out = x.new_empty(m, n)
    columns = _SHORT_TILE if k <= _SHORT_COLUMNS else _LONG_TILE
    with torch.cuda.device_of(x):
        # A thread has eight columns.
        _int8[m * triton.cdiv(n, outputs),](
            x.contiguous(), norm, packed, scales, addend, out, m, n, k, eps,
            norm is not None, addend is not None, gated, _INT8_ROWS, columns, num_warps=columns // 256,
        )  # fmt: skip
    return out


def multiply_int4(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    *,
    norm: Tensor | None = None,
    eps: float = 0.0,
    addend: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """Multiply a few rows by a weight of four bits.

    Args:
        x: [M, K].
        packed: uint8 [N, K / 2], with ``gated`` [2·N, K / 2]: it stacks gate and up; laid out by ``pack_words``.
        scales: scales and zeros [N, K / group, 2], with ``gated`` of 2·N rows.
        norm: weight [K] of a root-mean-square norm to apply to x first.
        eps: the norm's.
        addend: bias or residual to add to the only row, N values.
        gated: return silu(gate) · up.

    Returns:
        [M, N].
    """
    m, k, n, outputs = *x.shape, *_count(packed, _INT4_ROWS, gated)
    out = x.new_empty(m, n)
    words = packed.view(torch.int32)  # [N, K / 8]
    with torch.cuda.device_of(x):
        _int4[m * triton.cdiv(n, outputs),](
            x.contiguous(), norm, words, scales, addend, out, m, n, k // 8, eps, _HIGH_BITS, _LOW_BITS,
            norm is not None, addend is not None, gated, _INT4_ROWS, _INT4_WORDS, k // scales.shape[1],
            num_warps=_INT4_WARPS,
        )  # fmt: skip
    return out


def dequantize_int8(packed: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight [N, K] of int8 [N, K] with a scale for each row [N]; see ``Int8Linear.dequantize``."""
    n, k = packed.shape
    out = packed.new_empty(n, k, dtype=dtype)
    parts = triton.cdiv(k, _DEQUANTIZE_COLUMNS)
    with torch.cuda.device_of(packed):
        _dequantize_int8[parts * triton.cdiv(n, _DEQUANTIZE_ROWS),](
            packed, scales, out, n, k, parts, _DEQUANTIZE_ROWS, _DEQUANTIZE_COLUMNS
        )
    return out


def dequantize_int4(packed: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight [N, K] of what ``multiply_int4`` takes; see ``dequantize_words``."""
    n, k = packed.shape[0], packed.shape[1] * 2
    out = packed.new_empty(n, k, dtype=dtype)
    words = packed.view(torch.int32)  # [N, K / 8]
    parts = triton.cdiv(k // 8, _DEQUANTIZE_WORDS)
    with torch.cuda.device_of(packed):
        # Torch rounds the product before it adds: here both must not become one operation.
        _dequantize_int4[parts * triton.cdiv(n, _DEQUANTIZE_ROWS),](
            words, scales, out, n, k // 8, parts, _DEQUANTIZE_ROWS, _DEQUANTIZE_WORDS, k // scales.shape[1],
            enable_fp_fusion=False,
        )  # fmt: skip
    return out


def _count(packed: Tensor, rows: int, gated: bool) -> tuple[int, int]:
    """Return how many outputs there are, and how many of them a program of so many rows has."""
    return (len(packed) // 2, rows // 2) if gated else (len(packed), rows)


@triton.jit
def _int8(
    x, norm, weight, scales, addend, out, m, n, k, eps,
    normed: tl.constexpr, added: tl.constexpr, gated: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    # A thread loads eight columns of each row, and of x just the same: it needs nothing that another has loaded.
    row, program = tl.program_id(0) % m, tl.program_id(0) // m
    at, there = rows_of(program, n, gated, rows)
    column = tl.max_contiguous(tl.arange(0, columns)[None, :], [1, 8])
    x += row * k + column
    weight += at.to(tl.int64)[:, None] * k + column
    total = tl.zeros([rows, columns // 8], dtype=tl.float32)
    squares = tl.zeros([1, columns], dtype=tl.float32)
    for start in range(0, k, columns):
        inside = column < k - start
        integers = tl.load(weight + start, mask=there[:, None] & inside, other=0, eviction_policy="evict_first")
        values = tl.load(x + start, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
        if normed:
            squares += values * values
            values *= tl.load(norm + start + column, mask=inside, other=0.0, eviction_policy="evict_last").to(
                tl.float32
            )
        total += tl.sum(tl.reshape(integers.to(tl.float32) * values, [rows, columns // 8, 8]), axis=2)
    sums = tl.sum(total, axis=1) * tl.load(scales + at, mask=there, other=0.0).to(tl.float32)
    if normed:
        # The norm's factor is the same for the whole row.
        sums *= tl.rsqrt(tl.sum(tl.sum(squares, axis=1), axis=0) / k + eps)
    store_sums(sums, program, n, addend, out + row * n, added, gated, rows)


@triton.jit
def _int4(
    x, norm, weight, scales, addend, out, m, n, length, eps, high_bits, low_bits,
    normed: tl.constexpr, added: tl.constexpr, gated: tl.constexpr, rows: tl.constexpr, words: tl.constexpr,
    group: tl.constexpr,
):  # fmt: skip
    # Four consecutive words have one scale, and the first values of each are consecutive columns, as the second are, …:
    # so a thread needs nothing that another has loaded.  That N is a multiple of ``rows`` is the format's rule.
    row, program = tl.program_id(0) % m, tl.program_id(0) // m
    at = rows_of(program, n, gated, rows)[0][:, None]
    word, half = tl.arange(0, words)[None, :], tl.arange(0, words // 2)[None, :]
    column = word // (group // 8) * group + word % (group // 8)
    column = tl.multiple_of(tl.max_contiguous(column, [1, 4]), [1, 4])
    x += row * length * 8
    weight += at.to(tl.int64) * length + word
    scales += at * (length // (group // 8) * 2) + _pairs_of(words // 4, group // 32)
    total = tl.zeros([rows, words // 4], dtype=tl.float32)
    squares = tl.zeros([1, words], dtype=tl.float32)
    for start in range(0, length, words):
        inside = word < length - start
        integers = tl.load(weight + start, mask=inside, other=0, eviction_policy="evict_first")
        pair = tl.load(scales + start // (group // 8) * 2, mask=half < (length - start) // 2, other=0.0)
        for index in tl.static_range(4):
            first_column = start * 8 + 2 * index * (group // 8) + column
            second_column = first_column + group // 8
            even = tl.load(x + first_column, mask=inside, other=0.0).to(tl.float32)
            odd = tl.load(x + second_column, mask=inside, other=0.0).to(tl.float32)
            if normed:
                squares += even * even + odd * odd
                even *= tl.load(norm + first_column, mask=inside, other=0.0).to(tl.float32)
                odd *= tl.load(norm + second_column, mask=inside, other=0.0).to(tl.float32)
            # No conversion: under the exponents of 256 and of 16 these bits are 256 + q and 16 + q.  The masks are
            # arguments, as for constants the assembler would load each again and again.
            moved = integers << (15 - 8 * index) if index < 2 else integers >> (8 * index - 15)
            first = ((moved & low_bits) | 0x43800000).to(tl.float32, bitcast=True)
            second = ((moved & high_bits) | 0x41800000).to(tl.float32, bitcast=True)
            if index == 0:
                dot, evens, odds = first * even, even, odd
            else:
                dot += first * even
                evens += even
                odds += odd
            dot += second * odd
        # Σ x·((q - 8)·scale + zero) = scale · Σ x·(q - 8) + zero · Σ x.
        offset = tl.sum(tl.reshape(264.0 * evens + 24.0 * odds, [1, words // 4, 4]), axis=2)
        values = tl.sum(tl.reshape(evens + odds, [1, words // 4, 4]), axis=2)
        product = tl.sum(tl.reshape(dot, [rows, words // 4, 4]), axis=2) - offset
        scale, zero = tl.split(tl.reshape(pair.to(tl.float32), [rows, words // 4, 2]))
        total += product * scale + values * zero
    sums = tl.sum(total, axis=1)
    if normed:
        sums *= tl.rsqrt(tl.sum(tl.sum(squares, axis=1), axis=0) / (length * 8) + eps)
    store_sums(sums, program, n, addend, out + row * n, added, gated, rows)


@triton.jit
def _dequantize_int8(packed, scales, out, n, k, parts, rows: tl.constexpr, columns: tl.constexpr):
    # Threads load and store eight values at a time: the same ones, so that none passes through shared memory.
    row = tl.program_id(0) // parts * rows + tl.arange(0, rows)[:, None]
    column = tl.program_id(0) % parts * columns + tl.max_contiguous(tl.arange(0, columns)[None, :], [1, 8])
    at, inside = row.to(tl.int64) * k + column, (row < n) & (column < k)
    dtype: tl.constexpr = out.dtype.element_ty
    scale = tl.load(scales + row, mask=row < n, other=0.0).to(dtype).to(tl.float32)
    integers = tl.load(packed + at, mask=inside, other=0, eviction_policy="evict_first")
    tl.store(out + at, (integers.to(tl.float32) * scale).to(dtype), mask=inside)


@triton.jit
def _dequantize_int4(
    weight, scales, out, n, length, parts, rows: tl.constexpr, words: tl.constexpr, group: tl.constexpr
):
    # A thread takes words whose first values are consecutive columns, as the second are, …: it stores 16 bytes of each.
    unit: tl.constexpr = min(8, group // 8)
    units: tl.constexpr = words // unit
    row, start = tl.program_id(0) // parts * rows + tl.arange(0, rows)[:, None], tl.program_id(0) % parts * words
    word = start + tl.arange(0, words)[None, :]
    inside = (row < n) & (word < length)
    integers = tl.load(weight + row.to(tl.int64) * length + word, mask=inside, other=0, eviction_policy="evict_first")
    half = tl.arange(0, 2 * units)[None, :]
    scales += row * (length // (group // 8) * 2) + start // (group // 8) * 2 + _pairs_of(units, group // 8 // unit)
    pair = tl.load(scales, mask=(row < n) & (half < (length - start) // unit * 2), other=0.0)
    # Rounded as torch's operations round.
    dtype: tl.constexpr = out.dtype.element_ty
    scale, zero = tl.split(tl.reshape(pair.to(dtype).to(tl.float32), [rows, units, 2]))
    lowest = (zero - (8.0 * scale).to(dtype).to(tl.float32)).to(dtype).to(tl.float32)
    scale, lowest = _repeat(scale, rows, units, unit), _repeat(lowest, rows, units, unit)
    column = word // (group // 8) * group + word % (group // 8)
    out += row.to(tl.int64) * (length * 8) + tl.multiple_of(tl.max_contiguous(column, [1, unit]), [1, unit])
    for index in tl.static_range(8):
        product = (((integers >> 4 * index) & 15).to(tl.float32) * scale).to(dtype).to(tl.float32)
        tl.store(out + index * (group // 8), (product + lowest).to(dtype), mask=inside)


@triton.jit
def _repeat(values, rows: tl.constexpr, units: tl.constexpr, unit: tl.constexpr):
    """Repeat each of [rows, units] for the words of its unit, [rows, units · unit]."""
    return tl.reshape(tl.broadcast_to(values[:, :, None], [rows, units, unit]), [rows, units * unit])


@triton.jit
def _pairs_of(count: tl.constexpr, repeats: tl.constexpr):
    """Return where scale and zero are, [1, 2 · count], for so many parts of a row, ``repeats`` of which share them."""
    at = tl.arange(0, 2 * count)[None, :]
    # A pair is loaded at once, by the thread that has its part.
    return tl.multiple_of(tl.max_contiguous(at // (2 * repeats) * 2 + at % 2, [1, 2]), [1, 2])
