"""A decode step of fixed shapes in torch's operations: the fallback of a GPU, and the reference for its kernels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel, rotate
from vita_demo.model.ops.bfloat16_linear import Linear

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attends from one token in one layer.

Takes queries, keys and values before rotation [heads + 2·kv heads, head_dim] and the layer's part of the cache, twice
[kv heads, capacity, head_dim].  Rotates query and key, writes key and value to the token's cache slot, and attends to
all slots up to it; returns [1, heads · head_dim].
"""


class TorchStep:
    """Reads one token through all layers.

    Token and position are tensors on the device, so shapes and addresses stay the same from step to step, as a CUDA
    graph needs them.  ``project``, ``attention``, ``finish`` and ``predict`` are what kernels may do otherwise.

    Args:
        model: the weights.
        cache: takes keys and values.
    """

    def __init__(self, model: LanguageModel, cache: KVCache) -> None:
        self.model, self.cache = model, cache

    def __call__(self, token_id: Tensor, position: Tensor) -> Tensor:
        """Read a token [1] into the cache slot ``position`` [1]; return the next one's logits [1, vocab_size]."""
        x = F.embedding(token_id, self.model.embed_tokens.weight)  # [1, D]
        attend = self.attention(position)
        for layer, keys, values in zip(self.model.layers, self.cache.keys[:, 0], self.cache.values[:, 0], strict=True):
            qkv = self.project(layer, x)  # type: ignore[arg-type]  # [heads + 2·kv, head_dim]
            x = self.finish(layer, x, attend(qkv, keys, values))  # type: ignore[arg-type]  # [1, D]
        return self.predict(x)

    def project(self, layer: DecoderLayer, x: Tensor) -> Tensor:
        """Normalize x [1, D] and project it to queries, keys and values [heads + 2·kv, head_dim]."""
        attention = layer.self_attn
        qkv: Tensor = attention.qkv_proj(layer.input_layernorm(x))  # [1, (heads + 2·kv) · head_dim]
        return qkv.view(-1, attention.head_dim)  # [heads + 2·kv, head_dim]

    def attention(self, position: Tensor) -> Attend:
        """Return the attention of a token at ``position`` [1], for all layers.

        It reads the whole cache and masks the slots after the position, which must be finite.
        """
        keys = self.cache.keys
        cos, sin = self.cache.cos.index_select(0, position), self.cache.sin.index_select(0, position)  # [1, head_dim]
        unfilled = torch.arange(self.cache.capacity, device=keys.device) > position  # [capacity]
        mask = keys.new_zeros(self.cache.capacity).masked_fill_(unfilled, float("-inf"))  # [capacity]

        def attend(qkv: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            kv_heads = len(keys)
            query, key = torch.split(rotate(qkv[:-kv_heads], cos, sin), [len(qkv) - 2 * kv_heads, kv_heads])
            keys.index_copy_(1, position, key[:, None])
            values.index_copy_(1, position, qkv[-kv_heads:, None])
            # The queries of a group are the rows of one matrix over their common keys, so that no key is repeated.
            grouped = query.view(1, kv_heads, -1, query.shape[1])  # [1, kv heads, group, head_dim]
            bias = mask.expand(*grouped.shape[:3], -1)  # [1, kv heads, group, capacity]
            attended = F.scaled_dot_product_attention(grouped, keys[None], values[None], attn_mask=bias)
            return attended.reshape(1, -1)  # [1, heads · head_dim]

        return attend

    def finish(self, layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attention's output projection and then the MLP to the residual stream x [1, D]."""
        x = add_linear(x, layer.self_attn.o_proj, attended)  # [1, D]
        gate, up = layer.mlp.gate_up_proj(layer.post_attention_layernorm(x)).chunk(2, dim=-1)  # each [1, intermediate]
        return add_linear(x, layer.mlp.down_proj, F.silu(gate) * up)  # [1, D]

    def predict(self, x: Tensor) -> Tensor:
        """Map the last layer's x [1, D] to the next token's logits [1, vocab_size]."""
        logits: Tensor = self.model.lm_head(self.model.norm(x))  # [1, vocab_size]
        return logits


def add_linear(x: Tensor, linear: nn.Module, y: Tensor) -> Tensor:
    """Return ``x + linear(y)``; for a plain layer without bias in one operation, which overwrites ``x``."""
    if type(linear) is Linear:
        return torch.addmm(x, y, linear.weight.t(), out=x)
    total: Tensor = x + linear(y)
    return total
