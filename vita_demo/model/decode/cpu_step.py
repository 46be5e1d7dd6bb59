"""One decode step on the CPU: what ``LanguageModel.forward`` computes for one position, without its modules.

At one position most products are small, and calling modules and making tensors costs more than the arithmetic.  Here
every weight, buffer and view is looked up once, and a step is a flat list of operations that write in place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.decode.gemv import Product, bind_linear, fastest_way
from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel

_DTYPES = (torch.float32, torch.bfloat16)


class Buffers:
    """What all layers write to, with the views that they read.

    Attributes:
        x: the residual stream [D].
        normed: what the products of a layer read [D].
        qkv: queries, keys and values [(heads + 2·kv) · head_dim].
        query: [kv heads, group, head_dim], turned to their position; so are the keys.
        key, value: [kv heads, head_dim].
        attended: [kv heads, group, head_dim].
        gate_up: [2 · intermediate], with ``gate`` and ``up`` as its halves.
    """

    def __init__(self, config: TextConfig, like: Tensor) -> None:
        heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.x, self.normed = like.new_empty(2, config.hidden_size)
        self.qkv = like.new_empty((heads + 2 * kv_heads) * head_dim)
        self._projected, self.value = torch.split(self.qkv.view(-1, head_dim), [heads + kv_heads, kv_heads])
        self._rotated = torch.empty_like(self._projected)  # [heads + kv, head_dim]
        self._halves = self._projected.chunk(2, dim=1)
        self._rotated_halves = self._rotated.chunk(2, dim=1)
        self.query = self._rotated[:heads].view(kv_heads, -1, head_dim)  # [kv heads, group, head_dim]
        self.key = self._rotated[heads:]
        self.attended = torch.empty_like(self.query)
        self._scale, self._nothing = head_dim**-0.5, like.new_zeros(1, 1, 1)
        self.gate_up = like.new_empty(2 * config.intermediate_size)
        self.gate, self.up = self.gate_up.chunk(2)

    def rotate(self, cos: Tensor, sins: tuple[Tensor, ...]) -> None:
        """Turn queries and keys by one position's row [head_dim] of the table, the sine in halves."""
        (first, second), (turned_first, turned_second) = self._halves, self._rotated_halves
        torch.mul(self._projected, cos, out=self._rotated)
        turned_first.addcmul_(second, sins[0])
        turned_second.addcmul_(first, sins[1])

    def attend(self, keys: Tensor, values: Tensor) -> None:
        """Attend over [kv heads, T, head_dim]; the queries of one group stand as rows over their keys."""
        if keys.dtype == torch.float32:
            # With so few rows two products and a softmax are faster than the one kernel, which is made for many.
            scores = torch.baddbmm(self._nothing, self.query, keys.mT, beta=0, alpha=self._scale)
            torch.bmm(scores.softmax(-1), values, out=self.attended)
        else:
            attended = F.scaled_dot_product_attention(self.query[None], keys[None], values[None])
            self.attended.copy_(attended[0])


@dataclass(frozen=True)
class Layer:
    """One layer's weights, bound to the buffers."""

    input_norm: Tensor
    qkv: Product
    o: Product
    post_norm: Tensor
    gate_up: Product
    down: Product

    @classmethod
    def bind(cls, layer: DecoderLayer, buffers: Buffers) -> "Layer":
        """Look up what a step needs of ``layer``."""
        attention, mlp, b = layer.self_attn, layer.mlp, buffers
        return cls(
            input_norm=layer.input_layernorm.weight,
            qkv=bind_linear(attention.qkv_proj, b.normed, b.qkv, attention.qkv_proj.bias),
            o=bind_linear(attention.o_proj, b.attended.view(-1), b.x, b.x),
            post_norm=layer.post_attention_layernorm.weight,
            gate_up=bind_linear(mlp.gate_up_proj, b.normed, b.gate_up),
            down=bind_linear(mlp.down_proj, b.gate, b.x, b.x),
        )


class CpuStep:
    """Reads one token after those in the cache.

    Args:
        model: on the CPU, see ``serves``.
        cache: the generation's; it may be truncated between steps.
    """

    def __init__(self, model: LanguageModel, cache: KVCache) -> None:
        self._cache = cache
        self._caches = cache.keys[:, 0], cache.values[:, 0]  # each [layers, kv heads, capacity, head_dim]
        self._table, self._norm = model.embed_tokens.weight, model.norm.weight
        self._buffers = buffers = Buffers(model.config, self._norm)
        self._layers = [Layer.bind(layer, buffers) for layer in model.layers]  # type: ignore[arg-type]
        self._logits = self._norm.new_empty(model.config.vocab_size)
        self._head = bind_linear(model.lm_head, buffers.normed, self._logits)
        self._eps = model.config.rms_norm_eps
        self._way = fastest_way(self._norm.dtype)

    @staticmethod
    def serves(model: LanguageModel) -> bool:
        """Tell whether the model is where and in a precision in which this is faster than its modules."""
        weight = model.norm.weight
        return weight.device.type == "cpu" and weight.dtype in _DTYPES

    def __call__(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], which the next step overwrites."""
        position = self._cache.length
        with self._way:
            self._read(token_id, position)
        self._cache.length = position + 1
        return self._logits[None]  # [1, vocab_size]

    def _read(self, token_id: Tensor, position: int) -> None:
        b, cache = self._buffers, self._cache
        cos, sins = cache.cos[position], cache.sin[position].chunk(2)
        torch.index_select(self._table, 0, token_id, out=b.x[None])  # [1, D]
        for layer, (key, value, keys, values) in zip(self._layers, self._rows(position), strict=True):
            layer.qkv(alpha=self._normalize(layer.input_norm))
            b.rotate(cos, sins)
            key.copy_(b.key)
            value.copy_(b.value)
            b.attend(keys, values)
            layer.o()
            layer.gate_up(alpha=self._normalize(layer.post_norm))
            F.silu(b.gate, inplace=True).mul_(b.up)
            layer.down()
        self._head(alpha=self._normalize(self._norm))

    def _rows(self, position: int) -> Iterator[tuple[Tensor, ...]]:
        """Give each layer's place for a new key and value [kv heads, head_dim], and all up to there."""
        new = [cache.select(2, position).unbind() for cache in self._caches]  # layers × [kv heads, head_dim]
        filled = [cache.narrow(2, 0, position + 1).unbind() for cache in self._caches]  # layers × [kv heads, T, …]
        return zip(*new, *filled, strict=True)

    def _normalize(self, weight: Tensor) -> float:
        """Write the root-mean-square norm of the residual but for one factor, which the next product takes along."""
        x, normed = self._buffers.x, self._buffers.normed
        if x.dtype != torch.float32:
            normed.copy_(F.rms_norm(x, x.shape, weight, self._eps))
            return 1.0
        torch.mul(x, weight, out=normed)
        return 1 / sqrt(torch.dot(x, x).item() / len(x) + self._eps)
