"""A decode step for CPUs: what ``LanguageModel.forward`` computes for one position, without its modules.

For one position most products are small, and calling modules and allocating tensors costs more than the arithmetic.
So every weight, buffer and view is looked up once, when the step is made, and taking it is a flat list of operations
that write in place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.decode.gemv import Gemv, bind_linear, gemv_context
from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel

_DTYPES = (torch.float32, torch.bfloat16)


class Buffers:
    """The activations of one position, which all layers overwrite, with the views that are read.

    Attributes:
        x: the residual stream [D].
        normed: x after a norm [D].
        qkv: queries, keys and values before rotation [(heads + 2·kv) · head_dim].
        query: rotated [kv heads, group, head_dim].
        key: rotated [kv heads, head_dim].
        value: a view of ``qkv`` [kv heads, head_dim].
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
        self._scale, self._zero = head_dim**-0.5, like.new_zeros(1, 1, 1)
        self.gate_up = like.new_empty(2 * config.intermediate_size)
        self.gate, self.up = self.gate_up.chunk(2)

    def rotate(self, cos: Tensor, sins: tuple[Tensor, ...]) -> None:
        """Rotate queries and keys by one position's cosine [head_dim] and halved signed sine [head_dim / 2] × 2."""
        (first, second), (rotated_first, rotated_second) = self._halves, self._rotated_halves
        torch.mul(self._projected, cos, out=self._rotated)
        rotated_first.addcmul_(second, sins[0])
        rotated_second.addcmul_(first, sins[1])

    def attend(self, keys: Tensor, values: Tensor) -> None:
        """Attend over [kv heads, T, head_dim]; the queries of a group are the rows of one matrix."""
        if keys.dtype == torch.float32:
            # For so few rows, two products and a softmax beat the fused kernel, which is made for many.
            scores = torch.baddbmm(self._zero, self.query, keys.mT, beta=0, alpha=self._scale)
            torch.bmm(scores.softmax(-1), values, out=self.attended)
        else:
            attended = F.scaled_dot_product_attention(self.query[None], keys[None], values[None])
            self.attended.copy_(attended[0])


@dataclass(frozen=True)
class Layer:
    """One layer's norms, and its products bound to the buffers."""

    input_norm: Tensor
    qkv: Gemv
    o: Gemv
    post_norm: Tensor
    gate_up: Gemv
    down: Gemv

    @classmethod
    def bind(cls, layer: DecoderLayer, buffers: Buffers) -> "Layer":
        """Bind the weights of ``layer``; both residuals are added by the products ``o`` and ``down``."""
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
        model: one that ``serves`` accepts.
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
        self._context = gemv_context(self._norm.dtype)

    @staticmethod
    def serves(model: LanguageModel) -> bool:
        """Tell whether the model is on the CPU, in a dtype in which this is faster than its modules."""
        weight = model.norm.weight
        return weight.device.type == "cpu" and weight.dtype in _DTYPES

    def __call__(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], which the next step overwrites."""
        position = self._cache.length
        with self._context:
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
        """Yield for each layer the cache slots of the new key and value, and all filled slots including them.

        Yields:
            key, value [kv heads, head_dim], keys, values [kv heads, T, head_dim]; views of the cache.
        """
        new = [cache.select(2, position).unbind() for cache in self._caches]  # layers × [kv heads, head_dim]
        filled = [cache.narrow(2, 0, position + 1).unbind() for cache in self._caches]  # layers × [kv heads, T, …]
        return zip(*new, *filled, strict=True)

    def _normalize(self, weight: Tensor) -> float:
        """Write ``x · weight`` to ``normed`` and return 1 / rms(x), which the next product multiplies by.

        A norm is the same factor for the whole row, so it costs no pass over the row.  In bfloat16 it is applied here.
        """
        x, normed = self._buffers.x, self._buffers.normed
        if x.dtype != torch.float32:
            normed.copy_(F.rms_norm(x, x.shape, weight, self._eps))
            return 1.0
        torch.mul(x, weight, out=normed)
        return 1 / sqrt(torch.dot(x, x).item() / len(x) + self._eps)
