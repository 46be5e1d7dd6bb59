"""A decode step for CPUs that reads one token for each of some slots, and every weight only once.

Like ``CpuStep`` it is a flat list of operations on buffers that stay where they are, bound when they are first needed.
The operations are this package's Numba kernels: five a layer, with norms, gate, biases and residuals as parts of the
matrix products.  Activations are float32, whatever the dtype of the weights.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.model.decode.cpu_step import CpuStep
from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel, RMSNorm
from vita_demo.model.quantize.int8 import Int8Linear
from vita_demo.model.quantize.linear import QuantizedLinear

logger = logging.getLogger("vita_demo.model.decode.batch_step")

Call = Callable[[], object]


class BatchBuffers:
    """The activations of B rows in float32, which all layers overwrite.

    Attributes:
        slots: of each row [B].
        positions: of each row's new token in its slot [B].
        x: the residual stream [B, D].
        qkv: queries, keys and values before rotation [B, (heads + 2·kv) · head_dim].
        attended: [B, heads · head_dim].
        gated: silu(gate) · up [B, intermediate].
        logits: [B, vocab_size].
    """

    def __init__(self, model: LanguageModel, rows: int) -> None:
        config = model.config
        heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.slots, self.positions = torch.empty(2, rows, dtype=torch.long)
        self.x = torch.empty(rows, config.hidden_size)
        self.qkv = torch.empty(rows, (heads + 2 * kv_heads) * head_dim)
        self.attended = torch.empty(rows, heads * head_dim)
        self.gated = torch.empty(rows, config.intermediate_size)
        self.logits = torch.empty(rows, config.vocab_size)


class BatchStep:
    """Reads one token after those in each of some slots.

    Args:
        model: one that ``CpuStep`` serves.
        cache: of all slots, [layers, slots, kv heads, capacity, head_dim].
    """

    def __init__(self, model: LanguageModel, cache: KVCache) -> None:
        from vita_demo.model.decode import numba_kernels

        self._kernels: Any = numba_kernels
        self._model, self._cache = model, cache
        self._threads = torch.get_num_threads()
        self._bound: dict[int, tuple[BatchBuffers, list[Call]]] = {}

    def __call__(self, slots: Sequence[int], lengths: Sequence[int], token_ids: Tensor) -> Tensor:
        """Read one token for each of B slots.

        Args:
            slots: distinct.
            lengths: how many positions each slot of the cache holds already.
            token_ids: [B].

        Returns:
            The next tokens' logits [B, vocab_size], which the next step overwrites.
        """
        if len(slots) not in self._bound:
            buffers = BatchBuffers(self._model, len(slots))
            self._bound[len(slots)] = buffers, self._bind(buffers)
        buffers, calls = self._bound[len(slots)]
        buffers.slots.copy_(torch.tensor(slots))
        buffers.positions.copy_(torch.tensor([lengths[slot] for slot in slots]))
        buffers.x.copy_(F.embedding(token_ids, self._model.embed_tokens.weight))
        self._kernels.use_threads(self._threads)
        for call in calls:
            call()
        return buffers.logits.to(self._cache.keys.dtype)

    def _bind(self, b: BatchBuffers) -> list[Call]:
        """Return the step's operations on the buffers, in order."""
        model, caches = self._model, zip(self._cache.keys, self._cache.values, strict=True)
        layers = zip(model.layers, caches, strict=True)
        calls = [call for layer, cache in layers for call in self._bind_layer(layer, b, *cache)]  # type: ignore[arg-type]
        return [*calls, self._bind_product(model.lm_head, b.x, b.logits, norm=model.norm)]

    def _bind_layer(self, layer: DecoderLayer, b: BatchBuffers, keys: Tensor, values: Tensor) -> list[Call]:
        attention, mlp = layer.self_attn, layer.mlp
        rotary = self._cache.cos, self._cache.sin
        qkv, attended = (x.view(len(x), -1, attention.head_dim) for x in (b.qkv, b.attended))
        arrays = map(as_array, (qkv, *rotary, b.slots, b.positions, keys, values, attended))
        return [
            self._bind_product(attention.qkv_proj, b.x, b.qkv, norm=layer.input_layernorm),
            partial(self._kernels.attend, *arrays, self._threads),
            self._bind_product(attention.o_proj, b.attended, b.x, residual=True),
            self._bind_product(mlp.gate_up_proj, b.x, b.gated, norm=layer.post_attention_layernorm, gated=True),
            self._bind_product(mlp.down_proj, b.gated, b.x, residual=True),
        ]

    def _bind_product(
        self,
        linear: nn.Linear | QuantizedLinear,
        x: Tensor,
        out: Tensor,
        *,
        norm: RMSNorm | None = None,
        gated: bool = False,
        residual: bool = False,
    ) -> Call:
        """Prepare the product of x and a layer's weight; see ``numba_kernels.multiply``."""
        none = self._model.norm.weight.new_empty(0)
        weights: tuple[Tensor, Tensor]
        if isinstance(linear, Int8Linear) and linear.by_numba:
            weights = linear.packed, linear.scales
        elif isinstance(linear, QuantizedLinear):
            return partial(multiply_quantized, linear, x, out, norm, gated, residual)
        else:
            weights = linear.weight, none.bfloat16()
        scale, bias = none if norm is None else norm.weight, none if linear.bias is None else linear.bias
        operands = as_array(x), as_array(scale), self._model.config.rms_norm_eps, *map(as_array, (*weights, bias))
        return partial(self._kernels.multiply, *operands, gated, residual, as_array(out), self._threads)


def make_batch_step(model: LanguageModel, cache: KVCache) -> BatchStep | None:
    """Make the step for all slots of an empty cache, and take it once.

    Compiling the kernels takes seconds once, loading them from Numba's cache a fraction of one: no answer should wait
    for either.

    Returns:
        The step; None for models that it does not serve and, with a log record, where Numba cannot compile it.
    """
    if not CpuStep.serves(model):
        return None
    try:
        step = BatchStep(model, cache)
        step([0], [0], torch.tensor([0]))
    except Exception as error:  # noqa: BLE001 - whatever a compiler lacks, the rows can be read one after the other
        logger.info("slots are decoded one after the other, as Numba cannot compile a step for many (%s)", error)
        return None
    return step


def multiply_quantized(
    linear: QuantizedLinear, x: Tensor, out: Tensor, norm: RMSNorm | None, gated: bool, residual: bool
) -> None:
    """Do the same one after the other, by the layer's own product."""
    if norm is not None:
        x = F.rms_norm(x, x.shape[1:], norm.weight.float(), norm.eps)  # [B, K]
    product = linear(x)  # [B, N]
    if gated:
        gate, up = product.chunk(2, dim=1)  # each [B, N / 2]
        torch.mul(F.silu(gate), up, out=out)
    elif residual:
        out += product
    else:
        out.copy_(product)


def as_array(tensor: Tensor) -> Any:
    """Return the tensor's memory as NumPy's array; bfloat16, which NumPy does not know, as uint16."""
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
