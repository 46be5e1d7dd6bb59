"""Attention of one query over the filled part of a cache, whose length only the device knows.

Nothing is repeated for the heads that share their keys, and nothing waits for the device.  Which kernels there are
depends on device, dtype and torch, so what is fast is tried and its result compared; versions are not looked at.
What runs on a GPU only has not run yet.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes a query [heads, head_dim], keys and values [kv heads, capacity, head_dim]; returns [1, heads · head_dim]."""

MakeAttend = Callable[[Tensor, int], Attend]
"""Takes the query's position [1] and how many cached positions may be read; called once a step, for all layers."""


def masked_attention(dtype: torch.dtype, position: Tensor, bucket: int) -> Attend:
    """Read the whole bucket and mask what lies behind the position; what lies there must be finite."""
    behind = torch.arange(bucket, device=position.device) > position  # [bucket]
    mask = torch.zeros(bucket, dtype=dtype, device=position.device).masked_fill_(behind, float("-inf"))

    def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        # The queries of one group share their keys, so they stand as rows over them.
        grouped = query.view(1, len(keys), -1, query.shape[1])  # [1, kv heads, group, head_dim]
        bias = mask.expand(*grouped.shape[:3], -1)  # [1, kv heads, group, bucket]
        attended = F.scaled_dot_product_attention(
            grouped, keys[None, :, :bucket], values[None, :, :bucket], attn_mask=bias
        )
        return attended.reshape(1, -1)  # [1, heads · head_dim]

    return attend


def filled_attention(position: Tensor, bucket: int) -> Attend:
    """Read only what is filled, split among the GPU's processors: FlashAttention with its lengths on the device.

    It is what ``torch.nn.attention.varlen.varlen_attn`` calls, whose import takes seconds.
    """
    used = (position + 1).int()  # [1]
    starts = torch.arange(2, dtype=torch.int32, device=position.device)
    ends = starts * bucket

    def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        packed = (query[None], keys[:, :bucket].transpose(0, 1), values[:, :bucket].transpose(0, 1))  # [T, …, head_dim]
        attended: Tensor = torch.ops.aten._flash_attention_forward(  # noqa: SLF001
            *packed, starts, ends, 1, bucket, 0.0, False, False, seqused_k=used
        )[0]  # [1, heads, head_dim]
        return attended.view(1, -1)  # [1, heads · head_dim]

    return attend


@cache
def choose_attention(
    heads: int, kv_heads: int, head_dim: int, *, device: torch.device, dtype: torch.dtype
) -> MakeAttend:
    """Return the fastest attention that works there for these heads."""
    masked = partial(masked_attention, dtype)
    if device.type != "cuda":
        return masked
    generator = torch.Generator(device).manual_seed(0)
    query, keys, values = (
        torch.randn(*shape, head_dim, device=device, generator=generator).to(dtype)
        for shape in ((heads,), (kv_heads, 1024), (kv_heads, 1024))
    )
    return next((make for make in (filled_attention,) if agrees(make, masked, (query, keys, values))), masked)


def agrees(make: MakeAttend, trusted: MakeAttend, inputs: tuple[Tensor, Tensor, Tensor]) -> bool:
    """Try ``make`` on [heads, head_dim] over [kv heads, ≥ 512, head_dim] and compare it with what is trusted.

    Of few positions one too many or too few shows.
    """
    for last in (4, 300):
        position = torch.tensor([last], device=inputs[0].device)
        try:
            found = make(position, 512)(*inputs)
        except (RuntimeError, AttributeError, TypeError):
            return False
        if not torch.allclose(found.float(), trusted(position, 512)(*inputs).float(), atol=2e-2):
            return False
    return True
