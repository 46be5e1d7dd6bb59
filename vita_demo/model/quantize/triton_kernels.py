"""Kernels for a GPU that multiply a few rows by quantized weights.

Each program computes some outputs of one row of x, reading long contiguous stretches of the weight.  Programs for the
same part of the weight have neighbouring ids, so that they run together and all but the first read it from the GPU's
cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vita_demo.model.ops.triton_kernels import rows_of, store_sums

_ROWS = 4
_COLUMNS = 1024
# In int4 unpacking takes longer than reading: more rows share what is done for x.
_INT4_ROWS = 8
_INT4_WORDS = 512
# Two of a word's four-bit values, where a float32's mantissa begins and where it has the next four bits.
_HIGH_BITS, _LOW_BITS = 0x780000, 0x078000


def multiply_int8(
    x: Tensor, packed: Tensor, scales: Tensor, *, addend: Tensor | None = None, gated: bool = False
) -> Tensor:
    """Multiply [M, K] by int8 [N, K] with a scale for each row [N] to [M, N]; see ``multiply_int4``."""
    m, k, n, outputs = *x.shape, *_count(packed, _ROWS, gated)
    out = x.new_empty(m, n)
    with torch.cuda.device_of(x):
        _int8[m * triton.cdiv(n, outputs),](
            x.contiguous(), packed, scales, addend, out, m, n, k, addend is not None, gated, _ROWS, _COLUMNS
        )
    return out


def multiply_int4(
    x: Tensor, packed: Tensor, scales: Tensor, *, addend: Tensor | None = None, gated: bool = False
) -> Tensor:
    """Multiply a few rows by a weight of four bits.

    Args:
        x: [M, K].
        packed: uint8 [N, K / 2], with ``gated`` [2·N, K / 2]: it stacks gate and up; laid out by ``pack_words``.
        scales: scales and zeros [N, K / group, 2], with ``gated`` of 2·N rows.
        addend: bias or residual to add to the only row, N values.
        gated: return silu(gate) · up.

    Returns:
        [M, N].
    """
    m, k, n, outputs = *x.shape, *_count(packed, _INT4_ROWS, gated)
    out = x.new_empty(m, n)
    words, pairs = packed.view(torch.int32), scales.view(torch.int32)  # [N, K / 8], [N, K / group, 1]
    with torch.cuda.device_of(x):
        _int4[m * triton.cdiv(n, outputs),](
            x.contiguous(), words, pairs, addend, out, m, n, k // 8, _HIGH_BITS, _LOW_BITS,
            addend is not None, gated, _INT4_ROWS, _INT4_WORDS, k // scales.shape[1],
        )  # fmt: skip
    return out


def _count(packed: Tensor, rows: int, gated: bool) -> tuple[int, int]:
    """Return how many outputs there are, and how many of them a program of so many rows has."""
    return (len(packed) // 2, rows // 2) if gated else (len(packed), rows)


@triton.jit
def _int8(
    x, weight, scales, addend, out, m, n, k,
    added: tl.constexpr, gated: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    row, program = tl.program_id(0) % m, tl.program_id(0) // m
    at, there = rows_of(program, n, gated, rows)
    lines = weight + at.to(tl.int64)[:, None] * k
    total = tl.zeros([rows, columns], dtype=tl.float32)
    for start in range(0, k, columns):
        column = start + tl.arange(0, columns)
        inside = column < k
        values = tl.load(x + row * k + column, mask=inside, other=0.0).to(tl.float32)
        integers = tl.load(lines + column[None, :], mask=there[:, None] & inside[None, :], other=0)
        total += integers.to(tl.float32) * values[None, :]
    scale = tl.load(scales + at, mask=there, other=0.0).to(tl.float32)
    store_sums(tl.sum(total, axis=1) * scale, program, n, addend, out + row * n, added, gated, rows)


@triton.jit
def _int4(
    x, weight, pairs, addend, out, m, n, length, high_bits, low_bits,
    added: tl.constexpr, gated: tl.constexpr, rows: tl.constexpr, words: tl.constexpr, group: tl.constexpr,
):  # fmt: skip
    # Four consecutive words have one scale, and the first values of each are consecutive columns, as the second are, …:
    # so a thread needs nothing that another has loaded.  That N is a multiple of ``rows`` is the format's rule.
    row, program = tl.program_id(0) % m, tl.program_id(0) // m
    at = rows_of(program, n, gated, rows)[0][:, None]
    word, quad = tl.arange(0, words)[None, :], tl.arange(0, words // 4)[None, :]
    column = word // (group // 8) * group + word % (group // 8)
    x += row * length * 8 + tl.multiple_of(tl.max_contiguous(column, [1, 4]), [1, 4])
    weight += at.to(tl.int64) * length + word
    pairs += at * (length // (group // 8)) + quad // (group // 32)
    total = tl.zeros([rows, words // 4], dtype=tl.float32)
    for start in range(0, length, words):
        inside = word < length - start
        integers = tl.load(weight + start, mask=inside, other=0, eviction_policy="evict_first")
        pair = tl.load(pairs + start // (group // 8), mask=quad < (length - start) // 4, other=0)
        for index in tl.static_range(4):
            columns = x + start * 8 + 2 * index * (group // 8)
            even = tl.load(columns, mask=inside, other=0.0).to(tl.float32)
            odd = tl.load(columns + group // 8, mask=inside, other=0.0).to(tl.float32)
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
        # A pair is a scale and a zero in bfloat16, the upper half of a float32.
        scale, zero = (pair << 16).to(tl.float32, bitcast=True), (pair & -65536).to(tl.float32, bitcast=True)
        total += product * scale + values * zero
    store_sums(tl.sum(total, axis=1), program, n, addend, out + row * n, added, gated, rows)
