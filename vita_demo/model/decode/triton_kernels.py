"""Triton kernels of a decode step: a GEMV with fused prologue and epilogue, and attention over a split cache.

A step takes as long as reading the weights, each byte once, so everything else is fused into that: a norm is applied to
the row as it is loaded; gate, bias and residual to the sums before they are stored.  Attention rotates query and key,
appends key and value, and reads only the filled part of the cache, in splits that run in parallel and are combined by a
second kernel (flash-decoding, Dao et al. 2023).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vita_demo.model.ops.triton_kernels import rows_of, store_sums

_ROWS = 4
_COLUMNS = 1024
# The queries of a group are the rows of a matrix product, which has at least 16 in Triton.
_GROUP = 16
_BLOCK = 64


def multiply(
    x: Tensor,
    weight: Tensor,
    *,
    norm: Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
    addend: Tensor | None = None,
) -> Tensor:
    """Multiply one row by a weight [N, K] to [1, N], or with ``gated`` by [2·N, K].

    Args:
        x: [1, K].
        weight: [N, K]; with ``gated`` it stacks gate and up.
        norm: weight [K] of a root-mean-square norm to apply to x first.
        eps: the norm's.
        gated: return silu(gate) · up.
        addend: bias or residual to add, N values.
    """
    n, k = weight.shape
    n = n // 2 if gated else n
    out = x.new_empty(1, n)
    with torch.cuda.device_of(x):
        _multiply[triton.cdiv(n, _ROWS // 2 if gated else _ROWS),](
            x, norm, weight, addend, out, n, k, eps, norm is not None, gated, addend is not None, _ROWS, _COLUMNS
        )
    return out


def attend(
    qkv: Tensor, rotary: tuple[Tensor, Tensor], position: Tensor, keys: Tensor, values: Tensor, splits: int
) -> Tensor:
    """Append one token to the cache and attend from it to all positions up to its own.

    Args:
        qkv: the token's queries, keys and values before rotation, [heads + 2·kv heads, head_dim].
        rotary: cosine and sine tables [capacity, head_dim], the sine's first half negative.
        position: the token's cache slot [1], on the device.
        keys: [kv heads, capacity, head_dim].
        values: like ``keys``.
        splits: into how many parts the cache is cut; a power of two.

    Returns:
        [1, heads · head_dim].
    """
    kv_heads, capacity, head_dim = keys.shape
    heads = len(qkv) - 2 * kv_heads
    group = heads // kv_heads
    attended = qkv.new_empty(heads, splits, head_dim, dtype=torch.float32)
    peaks, sums = qkv.new_empty(2, heads, splits, dtype=torch.float32)
    out = qkv.new_empty(1, heads * head_dim)
    with torch.cuda.device_of(qkv):
        _attend[kv_heads, splits](
            qkv, *rotary, position, keys, values, attended, peaks, sums, capacity, head_dim**-0.5,
            kv_heads, group, triton.next_power_of_2(max(group, _GROUP)), head_dim, splits, _BLOCK,
        )  # fmt: skip
        _combine[heads,](attended, peaks, sums, out, head_dim, splits)
    return out


@triton.jit
def _multiply(
    x, norm, weight, addend, out, n, k, eps,
    normed: tl.constexpr, gated: tl.constexpr, added: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    at, there = rows_of(tl.program_id(0), n, gated, rows)
    lines = weight + at.to(tl.int64)[:, None] * k
    total = tl.zeros([rows, columns], dtype=tl.float32)
    squares = tl.zeros([columns], dtype=tl.float32)
    for start in range(0, k, columns):
        column = start + tl.arange(0, columns)
        inside = column < k
        part = tl.load(
            lines + column[None, :], mask=there[:, None] & inside[None, :], other=0.0, eviction_policy="evict_first"
        )
        row = tl.load(x + column, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
        if normed:
            # The norm's factor is the same for the whole row: it multiplies the sums at the end.
            squares += row * row
            row *= tl.load(norm + column, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
        total += part.to(tl.float32) * row[None, :]
    sums = tl.sum(total, axis=1)
    if normed:
        sums *= tl.rsqrt(tl.sum(squares, axis=0) / k + eps)
    store_sums(sums, tl.program_id(0), n, addend, out, added, gated, rows)


@triton.jit
def _attend(
    qkv, cos, sin, position, keys, values, attended, peaks, sums, capacity, scale,
    kv_heads, group: tl.constexpr, rows: tl.constexpr, head_dim: tl.constexpr, splits: tl.constexpr,
    block: tl.constexpr,
):  # fmt: skip
    kv, split = tl.program_id(0), tl.program_id(1)
    last = tl.load(position)
    d, row = tl.arange(0, head_dim), tl.arange(0, rows)
    cosine = tl.load(cos + last * head_dim + d).to(tl.float32)
    sine = tl.load(sin + last * head_dim + d).to(tl.float32)

    mine = (row < group)[:, None]
    heads = (kv * group + row)[:, None] * head_dim
    query = _rotated(qkv + heads, d[None, :], cosine[None, :], sine[None, :], mine, head_dim).to(keys.dtype.element_ty)

    # The first split starts from the new token, out of registers.  No program reads the slot that is being written.
    new = qkv + (kv_heads * group + kv) * head_dim
    key = _rotated(new, d, cosine, sine, d < head_dim, head_dim).to(keys.dtype.element_ty)
    value = tl.load(new + kv_heads * head_dim + d)
    first = split == 0
    lines = kv.to(tl.int64) * capacity * head_dim
    place = lines + last * head_dim + d
    tl.store(keys + place, key, mask=d < tl.where(first, head_dim, 0))
    tl.store(values + place, value, mask=d < tl.where(first, head_dim, 0))
    score = tl.sum(query.to(tl.float32) * key.to(tl.float32)[None, :], axis=1) * scale
    peak = tl.where(first, score, float("-inf"))
    weight = tl.where(first, 1.0, 0.0) + tl.zeros([rows], dtype=tl.float32)
    total = weight[:, None] * value.to(tl.float32)[None, :]

    # Online softmax: running maximum, sum of weights, and weighted sum of values.
    length = tl.cdiv(tl.cdiv(last, splits), block) * block
    end = tl.minimum((split + 1) * length, last)
    for start in range(split * length, end, block):
        before = start + tl.arange(0, block)
        filled = before < end
        cells = lines + before[:, None] * head_dim + d[None, :]
        old = tl.load(keys + cells, mask=filled[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(old), input_precision="ieee") * scale
        scores = tl.where(filled[None, :], scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        decay, shares = tl.exp(peak - new_peak), tl.exp(scores - new_peak[:, None])
        old = tl.load(values + cells, mask=filled[:, None], other=0.0)
        total = total * decay[:, None] + tl.dot(shares.to(old.dtype), old, input_precision="ieee")
        weight = weight * decay + tl.sum(shares, axis=1)
        peak = new_peak

    out = (kv * group + row) * splits + split
    tl.store(attended + out[:, None] * head_dim + d[None, :], total, mask=mine)
    tl.store(peaks + out, peak, mask=row < group)
    tl.store(sums + out, weight, mask=row < group)


@triton.jit
def _rotated(x, d, cosine, sine, mask, head_dim: tl.constexpr):
    ahead = tl.load(x + d, mask=mask, other=0.0).to(tl.float32)
    across = tl.load(x + (d + head_dim // 2) % head_dim, mask=mask, other=0.0).to(tl.float32)
    return ahead * cosine + across * sine


@triton.jit
def _combine(attended, peaks, sums, out, head_dim: tl.constexpr, splits: tl.constexpr):
    head, d = tl.program_id(0), tl.arange(0, head_dim)
    split = head * splits + tl.arange(0, splits)
    peak = tl.load(peaks + split)
    share = tl.exp(peak - tl.max(peak, axis=0))
    total = tl.sum(tl.load(attended + split[:, None] * head_dim + d[None, :]) * share[:, None], axis=0)
    tl.store(out + head * head_dim + d, total / tl.sum(tl.load(sums + split) * share, axis=0))
