"""Attention of one query over the filled part of a cache, whose length only the device knows.

Queries that share a key-value head are rows over the same keys, so that no key is copied, and the host never waits for
the length.  Which kernels work depends on device, dtype and torch's version; one is tried and its result compared.
What runs on a GPU only has not run yet.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes a query [heads, head_dim], keys and values [kv heads, capacity, head_dim]; returns [1, heads · head_dim]."""

MakeAttention = Callable[[Tensor, int], Attention]
"""Takes the query's position [1] and the bucket; called once a step, for all layers."""


def masked_attention(dtype: torch.dtype, position: Tensor, bucket: int) -> Attention:
    """Read the whole bucket, and mask the slots after ``position``, which must be finite."""
    unfilled = torch.arange(bucket, device=position.device) > position  # [bucket]
    mask = torch.zeros(bucket, dtype=dtype, device=position.device).masked_fill_(unfilled, float("-inf"))

    def attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        grouped = query.view(1, len(keys), -1, query.shape[1])  # [1, kv heads, group, head_dim]
        bias = mask.expand(*grouped.shape[:3], -1)  # [1, kv heads, group, bucket]
        attended = F.scaled_dot_product_attention(
            grouped, keys[None, :, :bucket], values[None, :, :bucket], attn_mask=bias
        )
        return attended.reshape(1, -1)  # [1, heads · head_dim]

    return attention


def flash_attention(position: Tensor, bucket: int) -> Attention:
    """Read the filled slots only, split among the GPU's SMs: FlashAttention with its lengths on the device.

    ``torch.nn.attention.varlen.varlen_attn`` calls the same operation, but takes seconds to import.
    """
    used = (position + 1).int()  # [1]
    starts = torch.arange(2, dtype=torch.int32, device=position.device)
    ends = starts * bucket

    def attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        packed = (query[None], keys[:, :bucket].transpose(0, 1), values[:, :bucket].transpose(0, 1))  # [T, …, head_dim]
        attended: Tensor = torch.ops.aten._flash_attention_forward(  # noqa: SLF001
            *packed, starts, ends, 1, bucket, 0.0, False, False, seqused_k=used
        )[0]  # [1, heads, head_dim]
        return attended.view(1, -1)  # [1, heads · head_dim]

    return attention


@cache
def choose_attention(
    heads: int, kv_heads: int, head_dim: int, *, device: torch.device, dtype: torch.dtype
) -> MakeAttention:
    """Return FlashAttention where it works for these heads, else masked attention."""
    masked = partial(masked_attention, dtype)
    if device.type != "cuda":
        return masked
    generator = torch.Generator(device).manual_seed(0)
    query, keys, values = (
        torch.randn(*shape, head_dim, device=device, generator=generator).to(dtype)
        for shape in ((heads,), (kv_heads, 1024), (kv_heads, 1024))
    )
    return flash_attention if agrees(flash_attention, masked, (query, keys, values)) else masked


def agrees(candidate: MakeAttention, reference: MakeAttention, inputs: tuple[Tensor, Tensor, Tensor]) -> bool:
    """Tell whether ``candidate`` works and gives what ``reference`` gives.

    Args:
        candidate: may raise.
        reference: must not.
        inputs: query [heads, head_dim], keys and values [kv heads, at least 512, head_dim].
    """
    # A short context (4) makes an off-by-one in the mask visible.
    for last in (4, 300):
        position = torch.tensor([last], device=inputs[0].device)
        try:
            attended = candidate(position, 512)(*inputs)
        except (RuntimeError, AttributeError, TypeError):
            return False
        if not torch.allclose(attended.float(), reference(position, 512)(*inputs).float(), atol=2e-2):
            return False
    return True
