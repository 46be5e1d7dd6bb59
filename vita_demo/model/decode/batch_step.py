"""A decode step for CPUs that reads one token for each of several sequences, and every weight only once.

Like ``CpuStep`` a flat list of operations in place, on matrices of one row for each sequence.  Only attention sees the
sequences apart: adjacent slots of similar length are attended in one padded batch over views of the cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.decode.cpu_step import CpuStep
from vita_demo.model.decode.gemv import gemv_context
from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel
from vita_demo.model.quantize.linear import QuantizedLinear

Product = Callable[[], object]
"""Multiplies the rows of one buffer by a weight into another."""

# What a further batch of attention costs: as much as reading this many bytes of keys and values.
_RUN_BYTES = 1 << 16


@dataclass(frozen=True)
class Run:
    """Adjacent slots whose sequences are attended together, padded to the longest.

    Attributes:
        start, end: the rows, ``end`` excluded.
        slot: that of the first row; the others follow.
        length: positions of the longest sequence, including the new one.
        ragged: whether the others are shorter.
    """

    start: int
    end: int
    slot: int
    length: int
    ragged: bool


def split_into_runs(slots: Sequence[int], lengths: Sequence[int], overhead: int) -> list[Run]:
    """Split rows into runs so that padding costs less than a further run would.

    Args:
        slots: of the rows, ascending.
        lengths: positions of each row's sequence.
        overhead: the positions that could be attended in the time that a further run takes.
    """
    runs: list[Run] = []
    for row, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
        if runs and runs[-1].slot + row - runs[-1].start == slot:
            last = runs[-1]
            longest, count = max(last.length, length), row - last.start
            if (count + 1) * longest <= count * last.length + length + overhead:
                runs[-1] = Run(last.start, row + 1, last.slot, longest, last.ragged or length != last.length)
                continue
        runs.append(Run(row, row + 1, slot, length, ragged=False))
    return runs


class BatchBuffers:
    """The activations of B rows, which all layers overwrite, with the views that are read.

    Attributes:
        x: the residual stream [B, D].
        normed: x after a norm [B, D].
        qkv: queries, keys and values before rotation [B, (heads + 2·kv) · head_dim].
        query: rotated [B · kv heads, group, head_dim].
        key: rotated [B, kv heads, head_dim].
        value: a view of ``qkv`` [B, kv heads, head_dim].
        attended: like ``query``.
        gate_up: [B, 2 · intermediate], with ``gate`` and ``up`` as its halves.
    """

    def __init__(self, config: TextConfig, like: Tensor, rows: int) -> None:
        heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.x, self.normed = like.new_empty(2, rows, config.hidden_size)
        self.qkv = like.new_empty(rows, (heads + 2 * kv_heads) * head_dim)
        query, key, self.value = torch.split(self.qkv.view(rows, -1, head_dim), [heads, kv_heads, kv_heads], dim=1)
        rotated_query, self.key = torch.empty_like(query), torch.empty_like(key)
        self._rotations = [(before, after) for before, after in ((query, rotated_query), (key, self.key))]
        self.query = rotated_query.view(rows * kv_heads, -1, head_dim)  # [B · kv heads, group, head_dim]
        self.attended = torch.empty_like(self.query)
        self.gate_up = like.new_empty(rows, 2 * config.intermediate_size)
        self.gate, self.up = self.gate_up.chunk(2, dim=1)

    def rotate(self, cos: Tensor, sin: Tensor) -> None:
        """Rotate queries and keys by each row's cosine and signed sine, [B, 1, head_dim] each."""
        for before, after in self._rotations:
            torch.mul(before, cos, out=after)
            after.addcmul_(before.roll(before.shape[-1] // 2, -1), sin)


@dataclass(frozen=True)
class Layer:
    """One layer's norms, and its products bound to the buffers of B rows."""

    input_norm: Tensor
    qkv: Product
    o: Product
    post_norm: Tensor
    gate_up: Product
    down: Product

    @classmethod
    def bind(cls, layer: DecoderLayer, buffers: BatchBuffers) -> "Layer":
        """Bind the weights of ``layer``; both residuals are added by the products ``o`` and ``down``."""
        attention, mlp, b = layer.self_attn, layer.mlp, buffers
        return cls(
            input_norm=layer.input_layernorm.weight,
            qkv=bind_linear(attention.qkv_proj, b.normed, b.qkv),
            o=bind_linear(attention.o_proj, b.attended.view(len(b.x), -1), b.x, b.x),
            post_norm=layer.post_attention_layernorm.weight,
            gate_up=bind_linear(mlp.gate_up_proj, b.normed, b.gate_up),
            down=bind_linear(mlp.down_proj, b.gate, b.x, b.x),
        )


def bind_linear(linear: nn.Linear | QuantizedLinear, x: Tensor, out: Tensor, addend: Tensor | None = None) -> Product:
    """Prepare ``out = addend + linear(x)`` for buffers that stay where they are.

    Args:
        linear: the layer, quantized or not.
        x: [B, K].
        out: [B, N].
        addend: [B, N], for a layer without a bias; may be ``out`` itself.
    """
    if isinstance(linear, QuantizedLinear) or linear.weight.dtype != torch.float32:
        return lambda: out.copy_(linear(x) if addend is None else linear(x) + addend)
    addend = linear.bias if addend is None else addend
    if addend is None:
        return partial(torch.mm, x, linear.weight.t(), out=out)
    return partial(torch.addmm, addend, x, linear.weight.t(), out=out)


class BatchStep:
    """Reads one token after those in each of some slots.

    Args:
        model: one that ``serves`` accepts.
        cache: of all slots, [layers, slots, kv heads, capacity, head_dim].  What is not filled must be finite.
    """

    def __init__(self, model: LanguageModel, cache: KVCache) -> None:
        self._model, self._cache = model, cache
        layers, slots, kv_heads, capacity, head_dim = cache.keys.shape
        self._norm, self._kv_heads = model.norm.weight, kv_heads
        self._caches = [c.view(layers, slots * kv_heads, capacity, head_dim) for c in (cache.keys, cache.values)]
        self._flat = [[*c.view(layers, -1, head_dim)] for c in self._caches]  # layers × [all positions, head_dim]
        self._first = torch.arange(slots * kv_heads).view(slots, kv_heads) * capacity  # [slots, kv heads]
        self._overhead = _RUN_BYTES // (2 * kv_heads * head_dim * self._norm.itemsize)
        self._logits = self._norm.new_empty(slots, model.config.vocab_size)
        self._bound: dict[int, tuple[BatchBuffers, list[Layer], Product]] = {}

    @staticmethod
    def serves(model: LanguageModel) -> bool:
        """Tell whether the model is on the CPU, in a dtype in which this is faster than its modules."""
        return CpuStep.serves(model)

    def __call__(self, slots: Sequence[int], positions: Sequence[int], token_ids: Tensor) -> Tensor:
        """Read one token for each slot.

        Args:
            slots: distinct.
            positions: how many positions each slot holds already.
            token_ids: [B].

        Returns:
            The next tokens' logits [B, vocab_size], which the next step overwrites.
        """
        order = sorted(range(len(slots)), key=slots.__getitem__)
        rows = torch.tensor(order)  # [B]
        ordered, at = [slots[row] for row in order], [positions[row] for row in order]
        buffers, layers, predict = self._bind(len(slots))
        with gemv_context(self._norm.dtype):
            torch.index_select(self._model.embed_tokens.weight, 0, token_ids[rows], out=buffers.x)
            self._read(buffers, layers, ordered, at)
            # The rows go back into the caller's order.
            buffers.x.index_copy_(0, rows, buffers.x.clone())
            self._normalize(buffers, self._norm)
            predict()
        return self._logits[: len(slots)]

    def _bind(self, rows: int) -> tuple[BatchBuffers, list[Layer], Product]:
        """Return the buffers of so many rows, and the layers' products and the head's bound to them."""
        if rows not in self._bound:
            buffers = BatchBuffers(self._model.config, self._norm, rows)
            layers = [Layer.bind(layer, buffers) for layer in self._model.layers]  # type: ignore[arg-type]
            self._bound[rows] = buffers, layers, bind_linear(self._model.lm_head, buffers.normed, self._logits[:rows])
        return self._bound[rows]

    def _read(self, b: BatchBuffers, layers: list[Layer], slots: list[int], positions: list[int]) -> None:
        places = torch.tensor(positions)  # [B]
        cos, sin = (table.index_select(0, places)[:, None] for table in (self._cache.cos, self._cache.sin))
        written = (self._first[slots] + places[:, None]).flatten()  # [B · kv heads]
        attend = self._bind_attention(b, slots, positions)
        for layer, keys, values, attend_layer in zip(layers, *self._flat, attend, strict=True):
            self._normalize(b, layer.input_norm)
            layer.qkv()
            b.rotate(cos, sin)
            keys.index_copy_(0, written, b.key.flatten(0, 1))
            values.index_copy_(0, written, b.value.flatten(0, 1))
            attend_layer()
            layer.o()
            self._normalize(b, layer.post_norm)
            layer.gate_up()
            F.silu(b.gate, inplace=True).mul_(b.up)
            layer.down()

    def _bind_attention(self, b: BatchBuffers, slots: list[int], positions: list[int]) -> list[Product]:
        """Return each layer's attention of the new tokens over their sequences."""
        runs = split_into_runs(slots, [position + 1 for position in positions], self._overhead)
        calls: list[list[Product]] = []
        for run in runs:
            mask = self._mask(positions[run.start : run.end]) if run.ragged else None
            span = slice(run.start * self._kv_heads, run.end * self._kv_heads)
            query, out = b.query[span], b.attended[span]  # [run · kv heads, group, head_dim]
            first, count = run.slot * self._kv_heads, span.stop - span.start
            views = [c.narrow(1, first, count).narrow(2, 0, run.length).unbind() for c in self._caches]
            calls.append([partial(attend, query, keys, values, mask, out) for keys, values in zip(*views, strict=True)])
        return [partial(_call_all, layer) for layer in zip(*calls, strict=True)]

    def _mask(self, positions: list[int]) -> Tensor:
        """Return what is added to scores [run · kv heads, 1, T]: minus infinity after each row's position."""
        at = torch.tensor(positions)[:, None]  # [run, 1]
        after = torch.arange(max(positions) + 1) > at  # [run, T]
        mask = self._norm.new_zeros(after.shape).masked_fill_(after, float("-inf"))
        return mask.repeat_interleave(self._kv_heads, dim=0)[:, None]  # [run · kv heads, 1, T]

    def _normalize(self, b: BatchBuffers, weight: Tensor) -> None:
        b.normed.copy_(F.rms_norm(b.x, weight.shape, weight, self._model.config.rms_norm_eps))


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """Attend from one token of each sequence.

    Args:
        query: [R, group, head_dim], for R = sequences · key-value heads.
        keys: [R, T, head_dim].
        values: like ``keys``.
        mask: added to the scores, [R, 1, T]; None adds nothing.
        out: like ``query``.
    """
    if keys.dtype != torch.float32:
        bias = None if mask is None else mask[None]  # [1, R, 1, T]
        attended = F.scaled_dot_product_attention(query[None], keys[None], values[None], attn_mask=bias)
        out.copy_(attended[0])
        return
    # For so few rows, two products and a softmax beat the fused kernel, which is made for many.
    scale, addend = query.shape[-1] ** -0.5, query.new_zeros(1, 1, 1) if mask is None else mask
    scores = torch.baddbmm(addend, query, keys.mT, beta=mask is not None, alpha=scale)  # [R, group, T]
    torch.bmm(scores.softmax(-1), values, out=out)


def _call_all(calls: Sequence[Product]) -> None:
    for call in calls:
        call()
