"""Ways to take a decode step of fixed shapes: torch's operations, those fused by its compiler, and own kernels.

Each reads one token through one layer after the other, and their logits differ in rounding only.  Which is the fastest
depends on the GPU and on the model's shape, and is measured; see ``BucketStep``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.decode.attention import choose_attention
from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel, RMSNorm, rotate
from vita_demo.model.ops.bfloat16_linear import Linear
from vita_demo.model.quantize.kernels import step_kernels
from vita_demo.model.quantize.linear import QuantizedLinear

AttendToken = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes one token's queries, keys and values [heads + 2·kv, head_dim], not rotated yet, and a layer's cached keys and
values [kv heads, capacity, head_dim], to which it appends; returns [1, heads · head_dim]."""


@dataclass(frozen=True, eq=False)
class StepWay:
    """How one token is read.

    Attributes:
        name: what takes the step, for messages.
        project: maps a layer and x [1, D] to queries, keys and values [heads + 2·kv, head_dim].
        make_attend: takes the cache, the token's position [1] and the bucket; called once a step, for all layers.
        finish: maps a layer, x [1, D] and what its heads attended to [1, heads · head_dim] to the new x.
        predict: maps the model and the last x [1, D] to logits [1, vocab_size].
    """

    name: str
    project: Callable[[DecoderLayer, Tensor], Tensor]
    make_attend: Callable[[KVCache, Tensor, int], AttendToken]
    finish: Callable[[DecoderLayer, Tensor, Tensor], Tensor]
    predict: Callable[[LanguageModel, Tensor], Tensor]


def read_token(
    way: StepWay, model: LanguageModel, cache: KVCache, token_id: Tensor, position: Tensor, bucket: int
) -> Tensor:
    """Read one token [1] into its position [1], both on the device; return the next one's logits [1, vocab_size]."""
    attend = way.make_attend(cache, position, bucket)
    x = F.embedding(token_id, model.embed_tokens.weight)  # [1, D]
    for layer, keys, values in zip(model.layers, cache.keys[:, 0], cache.values[:, 0], strict=True):
        x = way.finish(layer, x, attend(way.project(layer, x), keys, values))  # type: ignore[arg-type]
    return way.predict(model, x)


def plain_way(config: TextConfig) -> StepWay:
    """Make the way of torch's operations, which works everywhere and which the others are compared with."""
    return StepWay(
        "torch's operations", project, partial(make_attend, config.num_attention_heads, append), finish, predict
    )


def faster_ways(model: LanguageModel, *, kernels: bool, compiled: bool) -> list[StepWay]:
    """List the ways that may be faster than the plain one.

    Args:
        model: whose steps they take.
        kernels: whether own kernels may be used: where steps are captured, as launching them takes longer than torch's.
        compiled: whether torch's compiler may be used, which takes from seconds to a minute.
    """
    device, heads = model.norm.weight.device, model.config.num_attention_heads
    found = step_kernels(device, model.config.head_dim) if kernels else None
    ways = []
    if compiled:
        fused_attend = partial(make_attend, heads, fused(append))
        ways.append(StepWay("torch's compiler", fused(project), fused_attend, fused(finish), fused(predict)))
    if found is not None:
        ways.append(_kernel_way(found, splits_for(device, model.config.num_key_value_heads)))
    if compiled and found is not None:
        name = f"{ways[0].name} beside {ways[1].name}"
        ways.append(replace(ways[0], name=name, make_attend=ways[1].make_attend))
    return ways


@cache
def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with its operations fused by torch's compiler, which works when it is first called.

    All layers share what is made of it, and calling it costs nothing within a graph.  Products with one row become
    plain loops over the weights, which read them faster than the libraries for products do.
    """
    # A cache's capacity is a size that changes, for which nothing should be compiled again.
    options: dict[str, Any] = {"coordinate_descent_tuning": True}
    return torch.compile(function, fullgraph=True, dynamic=True, options=options)


def project(layer: DecoderLayer, x: Tensor) -> Tensor:
    """Begin a layer; see ``StepWay``."""
    attention = layer.self_attn
    qkv: Tensor = attention.qkv_proj(layer.input_layernorm(x))  # [1, (heads + 2·kv) · head_dim]
    return qkv.view(-1, attention.head_dim)  # [heads + 2·kv, head_dim]


def append(qkv: Tensor, rotary: tuple[Tensor, Tensor], position: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Rotate by cosine and sine [1, head_dim], write key and value to ``position``; return the query [heads, …]."""
    kv_heads = len(keys)
    query, key = torch.split(rotate(qkv[:-kv_heads], *rotary), [len(qkv) - 2 * kv_heads, kv_heads])
    keys.index_copy_(1, position, key[:, None])
    values.index_copy_(1, position, qkv[-kv_heads:, None])
    return query


def make_attend(
    heads: int, append: Callable[..., Tensor], cache: KVCache, position: Tensor, bucket: int
) -> AttendToken:
    """Append and attend in two steps, the second by what ``choose_attention`` finds."""
    rotary = tuple(table.index_select(0, position) for table in (cache.cos, cache.sin))  # [1, head_dim]
    _, _, kv_heads, _, head_dim = cache.keys.shape
    make = choose_attention(heads, kv_heads, head_dim, device=position.device, dtype=cache.keys.dtype)
    attend = make(position, bucket)
    return lambda qkv, keys, values: attend(append(qkv, rotary, position, keys, values), keys, values)


def finish(layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
    """End a layer; see ``StepWay``."""
    x = _plus(x, layer.self_attn.o_proj, attended)
    gate, up = layer.mlp.gate_up_proj(layer.post_attention_layernorm(x)).chunk(2, dim=-1)  # each [1, intermediate]
    return _plus(x, layer.mlp.down_proj, F.silu(gate) * up)


def predict(model: LanguageModel, x: Tensor) -> Tensor:
    """Return the next token's logits; see ``StepWay``."""
    logits: Tensor = model.lm_head(model.norm(x))  # [1, vocab_size]
    return logits


def _plus(x: Tensor, linear: nn.Module, y: Tensor) -> Tensor:
    """Return ``x + linear(y)``; where the product can add by itself, in the place of ``x``."""
    if type(linear) is Linear and not torch.compiler.is_compiling():
        return torch.addmm(x, y, linear.weight.t(), out=x)
    total: Tensor = x + linear(y)
    return total


def splits_for(device: torch.device, kv_heads: int) -> int:
    """Return into how many splits a cache is cut, so that each processor of the GPU gets one; a power of two."""
    processors = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 8
    return 1 << (max(1, processors // kv_heads).bit_length() - 1)


def _kernel_way(kernels: ModuleType, splits: int) -> StepWay:
    def multiply(linear: nn.Module, x: Tensor, norm: RMSNorm | None = None, **more: Any) -> Tensor:
        if isinstance(linear, QuantizedLinear):
            return _multiply_quantized(linear, x, norm, **more)
        addend = more.pop("addend", linear.bias)
        weight, eps = (None, 0.0) if norm is None else (norm.weight, norm.eps)
        product: Tensor = kernels.multiply(x, linear.weight, norm=weight, eps=eps, addend=addend, **more)
        return product

    def project(layer: DecoderLayer, x: Tensor) -> Tensor:
        attention = layer.self_attn
        return multiply(attention.qkv_proj, x, layer.input_layernorm).view(-1, attention.head_dim)

    def make_attend(cache: KVCache, position: Tensor, _: int) -> AttendToken:
        rotary = cache.cos, cache.sin
        return lambda qkv, keys, values: kernels.attend(qkv, rotary, position, keys, values, splits)

    def finish(layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
        x = multiply(layer.self_attn.o_proj, attended, addend=x)
        gate_up = multiply(layer.mlp.gate_up_proj, x, layer.post_attention_layernorm)  # [1, 2 · intermediate]
        return multiply(layer.mlp.down_proj, gate_up, gated=True, addend=x)

    def predict(model: LanguageModel, x: Tensor) -> Tensor:
        return multiply(model.lm_head, x, model.norm)

    return StepWay("Triton kernels", project, make_attend, finish, predict)


def _multiply_quantized(
    linear: QuantizedLinear, x: Tensor, norm: RMSNorm | None, gated: bool = False, addend: Tensor | None = None
) -> Tensor:
    """Apply norm or gate, product and addend one after the other: the kernels for few bits take nothing along."""
    if norm is not None:
        x = norm(x)
    if gated:
        gate, up = x.chunk(2, dim=-1)
        x = F.silu(gate) * up
    product: Tensor = linear(x)
    return product if addend is None else product + addend
