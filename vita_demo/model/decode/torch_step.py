"""The decode step in torch's operations: as they are, and fused by torch's compiler."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.model.decode.attention import choose_attention
from vita_demo.model.decode.step import DecodeStep
from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel, rotate
from vita_demo.model.ops.bfloat16_linear import Linear


class TorchStep(DecodeStep):
    """The step that works everywhere: the fallback, and the reference for the logits of the others.

    All but ``attend`` are static, as the compiler takes functions of layers and tensors.
    """

    name = "torch's operations"

    def __init__(self, model: LanguageModel, cache: KVCache, position: Tensor, bucket: int) -> None:
        super().__init__(model, cache, position, bucket)
        self._rotary = cache.cos.index_select(0, position), cache.sin.index_select(0, position)  # each [1, head_dim]
        config = model.config
        make_attention = choose_attention(
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            device=position.device,
            dtype=cache.keys.dtype,
        )
        # Masks and lengths are the same for all layers.
        self._attention = make_attention(position, bucket)

    @staticmethod
    def project(layer: DecoderLayer, x: Tensor) -> Tensor:
        """See ``DecodeStep``."""
        attention = layer.self_attn
        qkv: Tensor = attention.qkv_proj(layer.input_layernorm(x))  # [1, (heads + 2·kv) · head_dim]
        return qkv.view(-1, attention.head_dim)  # [heads + 2·kv, head_dim]

    def attend(self, qkv: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """See ``DecodeStep``."""
        query = self.append(qkv, self._rotary, self.position, keys, values)  # [heads, head_dim]
        return self._attention(query, keys, values)  # [1, heads · head_dim]

    @staticmethod
    def append(qkv: Tensor, rotary: tuple[Tensor, Tensor], position: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Rotate query and key by cosine and sine [1, head_dim] and write key and value to cache slot ``position``.

        Returns:
            The query [heads, head_dim].
        """
        kv_heads = len(keys)
        query, key = torch.split(rotate(qkv[:-kv_heads], *rotary), [len(qkv) - 2 * kv_heads, kv_heads])
        keys.index_copy_(1, position, key[:, None])
        values.index_copy_(1, position, qkv[-kv_heads:, None])
        return query

    @staticmethod
    def finish(layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
        """See ``DecodeStep``."""
        x = add_linear(x, layer.self_attn.o_proj, attended)  # [1, D]
        gate, up = layer.mlp.gate_up_proj(layer.post_attention_layernorm(x)).chunk(2, dim=-1)  # each [1, intermediate]
        return add_linear(x, layer.mlp.down_proj, F.silu(gate) * up)  # [1, D]

    @staticmethod
    def predict(model: LanguageModel, x: Tensor) -> Tensor:
        """See ``DecodeStep``."""
        logits: Tensor = model.lm_head(model.norm(x))  # [1, vocab_size]
        return logits


class CompiledStep(TorchStep):
    """The same operations, fused by torch's compiler: a product with one row becomes a plain loop over the weight.

    The attention itself stays as it is; its kernels are no operations that the compiler could take apart.
    """

    name = "torch's compiler"

    @staticmethod
    def project(layer: DecoderLayer, x: Tensor) -> Tensor:
        """See ``DecodeStep``."""
        return fused(TorchStep.project)(layer, x)

    @staticmethod
    def append(qkv: Tensor, rotary: tuple[Tensor, Tensor], position: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """See ``TorchStep``."""
        return fused(TorchStep.append)(qkv, rotary, position, keys, values)

    @staticmethod
    def finish(layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
        """See ``DecodeStep``."""
        return fused(TorchStep.finish)(layer, x, attended)

    @staticmethod
    def predict(model: LanguageModel, x: Tensor) -> Tensor:
        """See ``DecodeStep``."""
        return fused(TorchStep.predict)(model, x)


@cache
def fused(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``function`` compiled, which happens at its first call and takes seconds; all layers share the result."""
    # Dynamic, as the capacity of a cache is a size that changes, for which nothing should be compiled again.
    options: dict[str, Any] = {"coordinate_descent_tuning": True}
    return torch.compile(function, fullgraph=True, dynamic=True, options=options)


def add_linear(x: Tensor, linear: nn.Module, y: Tensor) -> Tensor:
    """Return ``x + linear(y)``; for a plain layer without bias in one operation, which overwrites ``x``."""
    if type(linear) is Linear and not torch.compiler.is_compiling():
        return torch.addmm(x, y, linear.weight.t(), out=x)
    total: Tensor = x + linear(y)
    return total
