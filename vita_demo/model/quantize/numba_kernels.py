"""Kernels for a CPU that multiply a few rows by quantized weights, compiled by Numba.

A kernel is as fast as memory only if it spends few instructions on each byte of the weight.  int8 is converted and
multiplied in float32.  int4 is multiplied in integers: x is rounded to 14 bits, with a scale for each group, and the
4-bit values are widened to 16 bits, because processors multiply and add two pairs of 16-bit integers in one instruction
(x86: vpmaddwd).  Rounding x in this way errs several times less than bfloat16, even with outliers.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from vita_demo.model.ops.numba_math import from_bfloat16

# Several threads may generate at once, and not every threading layer of Numba allows that.
numba.config.THREADING_LAYER = "threadsafe"

_LANES = 16
# The largest 14-bit integer.  A group of 128 products with 4-bit values, 128 · 8191 · 15, stays far within 32 bits.
_LARGEST = np.float32(8191)
_FLOAT, _ZERO, _TINY = np.float32, np.float32(0), np.finfo(np.float32).tiny


def multiply_int8(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """Multiply [M, K] by int8 [N, K] with a bfloat16 scale for each row [N] to float32 [M, N]."""
    return _multiply(_int8, x, packed, scales)


def multiply_int4(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """Multiply [M, K] by uint8 [N, K / 2] with bfloat16 scales and zeros [2, N, K / group]; see ``Int4Linear``.

    Returns:
        float32 [M, N].
    """
    return _multiply(_int4, x, packed, scales)


def compiled_product(quantize: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the product of a format, "int8" or "int4", whose kernel has been compiled by multiplying once."""
    if quantize == "int8":
        multiply_int8(torch.ones(1, 32), torch.ones(1, 32, dtype=torch.int8), torch.ones(1, dtype=torch.bfloat16))
        return multiply_int8
    multiply_int4(torch.ones(1, 64), torch.ones(1, 32, dtype=torch.uint8), torch.ones(2, 1, 2, dtype=torch.bfloat16))
    return multiply_int4


def _multiply(kernel: Any, x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    out = torch.empty(len(x), len(packed))
    kernel(x.float().contiguous().numpy(), packed.numpy(), scales.view(torch.uint16).numpy(), out.numpy())
    return out


@intrinsic
def _dot_nibbles(_, numbers, packed, low_at, high_at, at, count):
    """Dot products of ``count`` bytes' low halves and of their high halves with int16 values, as int32.

    Written in LLVM's intermediate language, as Numba would not vectorize it.

    Args:
        numbers: int16, the rounded row.
        packed: uint8, two 4-bit values a byte.
        low_at: index in ``numbers`` of what the low halves are multiplied by.
        high_at: the same for the high halves.
        at: index in ``packed`` of the first byte.
        count: of bytes; a multiple of 16.
    """
    signature = types.UniTuple(types.int32, 2)(numbers, packed, low_at, high_at, at, count)
    bytes_, shorts = ir.VectorType(ir.IntType(8), _LANES), ir.VectorType(ir.IntType(16), _LANES)
    wide, sums = ir.VectorType(ir.IntType(32), _LANES), ir.VectorType(ir.IntType(32), _LANES // 2)

    def load(builder, pointer, index, vector):
        loaded = builder.load(builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer()))
        loaded.align = 1
        return loaded

    def multiply_and_add_pairs(builder, x, y):
        # LLVM recognizes this pattern and emits the single instruction.
        products = builder.mul(builder.sext(x, wide), builder.sext(y, wide))
        evens, odds = (ir.Constant(sums, [*range(first, _LANES, 2)]) for first in (0, 1))
        return builder.add(*(builder.shuffle_vector(products, products, pick) for pick in (evens, odds)))

    def generate(context, builder, signature, arguments):
        pointers = [context.make_array(kind)(context, builder, value).data
                    for kind, value in zip(signature.args[:2], arguments[:2], strict=True)]  # fmt: skip
        low_at, high_at, at, count = arguments[2:]
        totals = [cgutils.alloca_once_value(builder, sums([0] * (_LANES // 2))) for _ in range(2)]
        with cgutils.for_range(builder, builder.udiv(count, count.type(_LANES))) as loop:
            step = builder.mul(loop.index, count.type(_LANES))
            pairs = load(builder, pointers[1], builder.add(at, step), bytes_)
            low = builder.and_(pairs, bytes_([15] * _LANES))
            high = builder.lshr(pairs, bytes_([4] * _LANES))
            for total, start, bits in zip(totals, (low_at, high_at), (low, high), strict=True):
                x = load(builder, pointers[0], builder.add(start, step), shorts)
                more = multiply_and_add_pairs(builder, x, builder.zext(bits, shorts))
                builder.store(builder.add(builder.load(total), more), total)
        kind = ir.FunctionType(ir.IntType(32), [sums])
        add_up = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.add.v{_LANES // 2}i32")
        dots = [builder.call(add_up, [builder.load(total)]) for total in totals]
        return context.make_tuple(builder, signature.return_type, dots)

    return signature, generate


@njit(parallel=True, fastmath=True, nogil=True, cache=True)
def _int8(x, packed, scales, out):
    for m in range(len(x)):
        for n in prange(len(packed)):
            total = _ZERO
            for k in range(packed.shape[1]):
                total += x[m, k] * _FLOAT(packed[n, k])
            out[m, n] = total * from_bfloat16(scales[n])


@njit(parallel=True, fastmath=True, nogil=True, cache=True)
def _int4(x, packed, scales, out):
    """Sum over groups: Σ x·((q - 8)·scale + zero) = step·scale·(Σ n·q - 8·Σ n) + zero·Σ x, where x = step·n."""
    half, groups = packed.shape[1], scales.shape[2] // 2
    group = half // groups
    for m in range(len(x)):
        numbers, eights, steps, sums = _round(x[m], 2 * groups)
        for n in prange(len(packed)):
            total = _ZERO
            for g in range(groups):
                other, at = groups + g, g * group
                low, high = _dot_nibbles(numbers, packed, at, half + at, n * half + at, group)
                total += _FLOAT(low - eights[g]) * (steps[g] * from_bfloat16(scales[0, n, g]))
                total += _FLOAT(high - eights[other]) * (steps[other] * from_bfloat16(scales[0, n, other]))
            for g in range(2 * groups):
                total += sums[g] * from_bfloat16(scales[1, n, g])
            out[m, n] = total


@njit(nogil=True, cache=True)
def _round(row, groups):
    """Round each group of a row [K] to 14-bit integers n, so that x = step · n.

    Returns:
        n as int16 [K], and for each group: 8 · Σ n as int32, step, and Σ x, both float32.
    """
    size = len(row) // groups
    numbers, eights = np.empty(len(row), np.int16), np.empty(groups, np.int32)
    steps, sums = np.empty(groups, _FLOAT), np.empty(groups, _FLOAT)
    for g in range(groups):
        largest, total, integers = _ZERO, _ZERO, 0
        for k in range(g * size, (g + 1) * size):
            largest, total = max(largest, abs(row[k])), total + row[k]
        step = max(largest / _LARGEST, _TINY)
        for k in range(g * size, (g + 1) * size):
            numbers[k] = np.int16(np.rint(row[k] / step))
            integers += numbers[k]
        eights[g], steps[g], sums[g] = 8 * integers, step, total
    return numbers, eights, steps, sums
