"""A decode step of fixed shapes in torch's operations: the fallback of a GPU, and the reference for its kernels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel, rotate
from vita_demo.model.ops.bfloat16_linear import Linear

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attends from one token of each sequence in one layer.

Takes queries, keys and values before rotation [B, heads + 2·kv heads, head_dim] and the layer's part of the cache,
twice [B, kv heads, capacity, head_dim].  Rotates query and key, writes key and value at the token's position, and
attends to all positions up to it; returns [B, heads · head_dim].
"""


class TorchStep:
    """Reads one token of each sequence in the cache through all layers.

    Tokens and positions are tensors on the device, so shapes and addresses stay the same from step to step, as a CUDA
    graph needs them.  ``project``, ``attention``, ``finish`` and ``predict`` are what kernels may do otherwise.

    Args:
        model: the weights.
        cache: takes keys and values of B sequences.
    """

    def __init__(self, model: LanguageModel, cache: KVCache) -> None:
        self.model, self.cache = model, cache

    def __call__(self, token_id: Tensor, position: Tensor) -> Tensor:
        """Read tokens [B] at their positions [B]; return the next ones' logits [B, vocab_size]."""
        x = F.embedding(token_id, self.model.embed_tokens.weight)  # [B, D]
        attend = self.attention(position)
        for layer, keys, values in zip(self.model.layers, self.cache.keys, self.cache.values, strict=True):
            qkv = self.project(layer, x)  # type: ignore[arg-type]  # [B, heads + 2·kv, head_dim]
            x = self.finish(layer, x, attend(qkv, keys, values))  # type: ignore[arg-type]  # [B, D]
        return self.predict(x)

    def project(self, layer: DecoderLayer, x: Tensor) -> Tensor:
        """Normalize x [B, D] and project it to queries, keys and values [B, heads + 2·kv, head_dim]."""
        attention = layer.self_attn
        qkv: Tensor = attention.qkv_proj(layer.input_layernorm(x))  # [B, (heads + 2·kv) · head_dim]
        return qkv.view(len(x), -1, attention.head_dim)  # [B, heads + 2·kv, head_dim]

    def attention(self, position: Tensor) -> Attend:
        """Return the attention of tokens at ``position`` [B], for all layers.

        It reads the whole cache and masks what comes after the positions, which must be finite.
        """
        keys = self.cache.keys
        tables = (table.index_select(0, position)[:, None] for table in (self.cache.cos, self.cache.sin))
        cos, sin = tables  # each [B, 1, head_dim]
        unfilled = torch.arange(self.cache.capacity, device=keys.device) > position[:, None]  # [B, capacity]
        mask = keys.new_zeros(unfilled.shape).masked_fill_(unfilled, float("-inf"))  # [B, capacity]

        def attend(qkv: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            rows, kv_heads, _, head_dim = keys.shape
            rotated, new = rotate(qkv[:, :-kv_heads], cos, sin), qkv[:, -kv_heads:]
            at = position[:, None, None, None].expand(-1, kv_heads, 1, head_dim)  # [B, kv heads, 1, head_dim]
            keys.scatter_(2, at, rotated[:, -kv_heads:, None])
            values.scatter_(2, at, new[:, :, None])
            # The queries of a group are the rows of one matrix over their common keys, so that no key is repeated.
            grouped = rotated[:, :-kv_heads].reshape(rows, kv_heads, -1, head_dim)  # [B, kv heads, group, head_dim]
            bias = mask[:, None, None].expand(*grouped.shape[:3], -1)  # [B, kv heads, group, capacity]
            attended = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=bias)
            return attended.reshape(rows, -1)  # [B, heads · head_dim]

        return attend

    def finish(self, layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attention's output projection and then the MLP to the residual stream x [B, D]."""
        x = add_linear(x, layer.self_attn.o_proj, attended)  # [B, D]
        gate, up = layer.mlp.gate_up_proj(layer.post_attention_layernorm(x)).chunk(2, dim=-1)  # each [B, intermediate]
        return add_linear(x, layer.mlp.down_proj, F.silu(gate) * up)  # [1, D]

    def predict(self, x: Tensor) -> Tensor:
        """Map the last layer's x [B, D] to the next tokens' logits [B, vocab_size]."""
        logits: Tensor = self.model.lm_head(self.model.norm(x))  # [B, vocab_size]
        return logits


def add_linear(x: Tensor, linear: nn.Module, y: Tensor) -> Tensor:
    """Return ``x + linear(y)``; for a plain layer without bias in one operation, which overwrites ``x``."""
    if type(linear) is Linear:
        return torch.addmm(x, y, linear.weight.t(), out=x)
    total: Tensor = x + linear(y)
    return total
