"""Numba kernels of a decode step for several rows: a skinny GEMM with fused prologue and epilogue, ragged attention.

BLAS libraries are made for many rows; with a few they take several times as long as reading the weight does.  Here
four rows are multiplied by two rows of the weight at a time: eight sums, which stay in registers.  bfloat16, which
Numba does not know, comes as the uint16 of its bits and is computed in float32.
"""

import numba
import numpy as np
from numba import njit, prange

from vita_demo.model.ops.numba_math import FAST, exp, put, to_float

# Several threads may generate at once, and not every threading layer of Numba allows that.
numba.config.THREADING_LAYER = "threadsafe"

_FLOAT, _ZERO, _ONE = np.float32, np.float32(0), np.float32(1)


def use_threads(count: int) -> None:
    """Let the kernels that this thread calls run on so many threads."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


@njit(parallel=True, fastmath=FAST, nogil=True, cache=True, error_model="numpy")
def multiply(x, norm, eps, weight, scales, bias, gated, residual, out, parts):
    """Multiply a few rows by a weight.

    Args:
        x: float32 [M, K].
        norm: weight [K] of a root-mean-square norm to apply to x first, or empty.
        eps: the norm's.
        weight: float32, bfloat16 as uint16, or int8 [N, K].
        scales: what each row of an int8 weight is multiplied by, bfloat16 as uint16 [N]; else empty.
        bias: [N], or empty.
        gated: the first half of the products is a gate, and silu(gate) · up is written.
        residual: add to ``out`` instead of overwriting it.
        out: float32 [M, N], or with ``gated`` [M, N / 2].
        parts: into how many parts to cut the weight for threads.
    """
    rows, half = len(x), (len(weight) + 1) // 2
    x = _normalize(x, norm, eps) if len(norm) else x
    size = (half + parts - 1) // parts
    for part in prange(parts):
        sums = np.empty((2, rows + 3), _FLOAT)
        for n in range(part * size, min(half, part * size + size)):
            # In the middle of an odd number of rows there is no second one.
            other = n + half if n + half < len(weight) else n
            _dot_rows(x, weight[n], weight[other], sums)
            if len(scales):
                sums[0] *= to_float(scales[n])
                sums[1] *= to_float(scales[other])
            if len(bias):
                sums[0] += to_float(bias[n])
                sums[1] += to_float(bias[other])
            _write(sums[:, :rows], n, other, gated, residual, out)


@njit(fastmath=FAST, nogil=True, inline="always")
def _write(sums, first, second, gated, residual, out):
    for m in range(len(out)):
        if gated:
            out[m, first] = sums[0, m] / (_ONE + exp(-sums[0, m])) * sums[1, m]
        else:
            out[m, first] = sums[0, m] + (out[m, first] if residual else _ZERO)
    for m in range(0 if gated or second == first else len(out)):
        out[m, second] = sums[1, m] + (out[m, second] if residual else _ZERO)


@njit(fastmath=FAST, nogil=True)
def _normalize(x, norm, eps):
    normed = np.empty(x.shape, _FLOAT)
    for m in range(len(x)):
        squares = _ZERO
        for k in range(x.shape[1]):
            squares += x[m, k] * x[m, k]
        factor = _ONE / np.sqrt(squares / _FLOAT(x.shape[1]) + _FLOAT(eps))
        for k in range(x.shape[1]):
            normed[m, k] = x[m, k] * factor * to_float(norm[k])
    return normed


@njit(fastmath=FAST, nogil=True, inline="always")
def _dot_rows(x, first, second, sums):
    """Write the dot products of the rows of x [M, K] with ``first`` and with ``second`` [K] to ``sums`` [2, M + 3].

    Where the last block has fewer rows, the last row is repeated.
    """
    last = len(x) - 1
    for m in range(0, len(x), 4):
        x0, x1, x2, x3 = x[m], x[min(m + 1, last)], x[min(m + 2, last)], x[min(m + 3, last)]
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = _ZERO
        if last - m < 2:
            for k in range(len(first)):
                a, b = to_float(first[k]), to_float(second[k])
                a0, a1 = a0 + a * x0[k], a1 + a * x1[k]
                b0, b1 = b0 + b * x0[k], b1 + b * x1[k]
        else:
            for k in range(len(first)):
                a, b = to_float(first[k]), to_float(second[k])
                a0, a1, a2, a3 = a0 + a * x0[k], a1 + a * x1[k], a2 + a * x2[k], a3 + a * x3[k]
                b0, b1, b2, b3 = b0 + b * x0[k], b1 + b * x1[k], b2 + b * x2[k], b3 + b * x3[k]
        sums[0, m], sums[0, m + 1], sums[0, m + 2], sums[0, m + 3] = a0, a1, a2, a3
        sums[1, m], sums[1, m + 1], sums[1, m + 2], sums[1, m + 3] = b0, b1, b2, b3


@njit(parallel=True, fastmath=FAST, nogil=True, cache=True, error_model="numpy")
def attend(qkv, cos, sin, slots, positions, keys, values, out, parts):
    """Append one token to each of some slots and attend from it to all positions of its slot up to its own.

    Args:
        qkv: each token's queries, keys and values before rotation, float32 [B, heads + 2·kv heads, head_dim].
        cos: rotary table [capacity, head_dim].
        sin: the same, its first half negative.
        slots: each token's slot [B].
        positions: each token's position in its slot [B].
        keys: [slots, kv heads, capacity, head_dim].
        values: like ``keys``.
        out: float32 [B, heads, head_dim].
        parts: into how many parts to cut the work for threads.
    """
    kv_heads = keys.shape[1]
    heads = qkv.shape[1] - 2 * kv_heads
    group, tasks = heads // kv_heads, len(qkv) * kv_heads
    for part in prange(parts):
        for task in range(part * tasks // parts, (part + 1) * tasks // parts):
            row, kv = task // kv_heads, task % kv_heads
            slot, at = slots[row], positions[row]
            slot_keys, slot_values = keys[slot, kv], values[slot, kv]
            key = _rotate(qkv[row, heads + kv], cos[at], sin[at])
            for d in range(len(key)):
                put(slot_keys[at], d, key[d])
                put(slot_values[at], d, qkv[row, heads + kv_heads + kv, d])
            for head in range(kv * group, kv * group + group):
                query = _rotate(qkv[row, head], cos[at], sin[at])
                _attend_head(query, slot_keys[: at + 1], slot_values[: at + 1], out[row, head])


@njit(fastmath=FAST, nogil=True)
def _rotate(x, cos, sin):
    half = len(x) // 2
    rotated = np.empty(len(x), _FLOAT)
    for d in range(half):
        rotated[d] = x[d] * to_float(cos[d]) + x[half + d] * to_float(sin[d])
        rotated[half + d] = x[half + d] * to_float(cos[half + d]) + x[d] * to_float(sin[half + d])
    return rotated


@njit(fastmath=FAST, nogil=True, error_model="numpy")
def _attend_head(query, keys, values, out):
    """Attend from one query [head_dim] over [T, head_dim]."""
    scores = np.empty(len(keys), _FLOAT)
    for t in range(len(keys)):
        score = _ZERO
        for d in range(len(query)):
            score += query[d] * to_float(keys[t, d])
        scores[t] = score
    scores *= _ONE / np.sqrt(_FLOAT(len(query)))
    peak, total = scores.max(), _ZERO
    for t in range(len(keys)):
        scores[t] = exp(scores[t] - peak)
        total += scores[t]
    out[:] = _ZERO
    for t in range(len(keys)):
        for d in range(len(out)):
            out[d] += scores[t] * to_float(values[t, d])
    out /= total
