"""One decode step whose shapes and addresses never change, so that a CUDA graph can replay it or a compiler fuse it.

Token and position are read from the device, and attention may read one bucket of the cache: 512 positions, 1,024,
2,048, and so on.  A bucket is only a view, so a longer answer takes another graph and copies nothing.
The step itself runs on any device; its graphs have not run on a GPU yet.
"""

import logging
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel, rotate
from vita_demo.model.single_query import choose_attention
from vita_demo.model.upcast import Linear

logger = logging.getLogger("vita_demo.model")

FIRST_BUCKET = 512
# Of the largest logit: what kernels that are chosen anew may differ by.
_TOLERANCE = 0.1
Call = Callable[[], object]


def bucket_of(positions: int) -> int:
    """Return the size of the smallest bucket that holds so many positions."""
    return max(FIRST_BUCKET, 1 << (positions - 1).bit_length())


class BucketStep:
    """Reads one token after those in the cache.

    Args:
        model: on any device.
        cache: the generation's; it may be truncated between steps.
        capture: turns a call into one that replays it; None runs each step operation by operation.
        compiled: let torch's compiler fuse the operations, which takes seconds at the first step.
    """

    def __init__(
        self,
        model: LanguageModel,
        cache: KVCache,
        capture: Callable[[Call], Call] | None = None,
        compiled: bool = False,
    ) -> None:
        self._model, self._cache, self._capture = model, cache, capture
        config, keys = model.config, cache.keys
        self._token, self._position = torch.zeros(2, 1, dtype=torch.long, device=keys.device)
        self._logits = keys.new_empty(1, config.vocab_size)
        self._layers = [*zip(model.layers, cache.keys[:, 0], cache.values[:, 0], strict=True)]
        heads = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self._make_attend = choose_attention(*heads, device=keys.device, dtype=keys.dtype)
        self._compiled = compiled
        self._project: Callable[..., Tensor] = fused(project) if compiled else project
        self._finish: Callable[..., Tensor] = fused(finish) if compiled else finish
        self._calls: dict[int, Call] = {}
        # What is masked is read too, and nothing times infinity is no number.
        for tensor in (cache.keys, cache.values):
            tensor[..., cache.length :, :].zero_()

    def __call__(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], which the next step overwrites."""
        logits = self.launch(token_id, self._cache.length)
        self._cache.length += 1
        return logits

    def launch(self, token_id: Tensor, position: int) -> Tensor:
        """Begin to read one token [1] into ``position``, which does not count as filled by that; see ``__call__``."""
        self._token.copy_(token_id)
        self._position.fill_(position)
        bucket = min(bucket_of(position + 1), self._cache.capacity)
        if bucket in self._calls:
            self._calls[bucket]()
        else:
            self._calls[bucket] = self._begin(bucket)
        return self._logits

    def _run(self, bucket: int) -> None:
        """Read the token into its position, both on the device."""
        model, position = self._model, self._position
        rotary = tuple(table.index_select(0, position) for table in (self._cache.cos, self._cache.sin))  # [1, head_dim]
        attend = self._make_attend(position, bucket)
        x = F.embedding(self._token, model.embed_tokens.weight)  # [1, D]
        for layer, keys, values in self._layers:
            query = self._project(layer, x, rotary, position, (keys, values))
            x = self._finish(layer, x, attend(query, keys, values))
        self._logits.copy_(model.lm_head(model.norm(x)))

    def _begin(self, bucket: int) -> Call:
        """Take the first step in a bucket, which loads and compiles what it needs; return what takes the others."""
        start = time.perf_counter()
        try:
            self._run(bucket)
        except (RuntimeError, OSError, ImportError) as error:
            if not self._compiled:
                raise
            _tell("compiled", error)
            self._compiled = False
            self._project, self._finish = project, finish
            # What the failed step wrote, this one writes again.
            self._run(bucket)
        if self._compiled:
            self._model.prepared_s["compile"] += time.perf_counter() - start
        return self._record(partial(self._run, bucket))

    def _record(self, call: Call) -> Call:
        if self._capture is None:
            return call
        start = time.perf_counter()
        try:
            return self._checked(self._capture(call))
        except RuntimeError as error:
            _tell("captured as a CUDA graph", error)
            self._capture = None
            return call
        finally:
            self._model.prepared_s["capture"] += time.perf_counter() - start

    def _checked(self, replay: Call) -> Call:
        """Take the last step once more, and return what took it if that gave its logits."""
        expected = self._logits.clone()
        self._logits.zero_()
        replay()
        deviation, largest = (self._logits - expected).abs().max(), expected.abs().max()
        if not deviation <= _TOLERANCE * largest:
            self._logits.copy_(expected)
            raise RuntimeError("a replay gives other logits")
        return replay


def _tell(what: str, error: Exception) -> None:
    # The compiler's errors name it in the first line and say what happened in the second.
    reason = " ".join(str(error).replace("raised:\n", "raised ").split("\n", 1)[0].split())
    logger.warning("the decode step cannot be %s (%s): it runs slower, with the same tokens", what, reason)


@cache
def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with its operations fused by torch's compiler, which works when it is first called.

    All layers share what is made of it, and calling it costs nothing within a graph.  Products with one row become
    plain loops over the weights, which read them faster than the libraries for products do.
    """
    # A cache's capacity is a size that changes, for which nothing should be compiled again.
    options: dict[str, Any] = {"coordinate_descent_tuning": True}
    return torch.compile(function, fullgraph=True, dynamic=True, options=options)


def project(
    layer: DecoderLayer, x: Tensor, rotary: tuple[Tensor, Tensor], position: Tensor, rows: tuple[Tensor, Tensor]
) -> Tensor:
    """Begin a layer for x [1, D] at ``position`` [1].

    Key and value are written to ``rows``, each [kv heads, capacity, head_dim]; cosine and sine are [1, head_dim].

    Returns:
        The query [heads, head_dim].
    """
    attention = layer.self_attn
    heads, kv_heads, head_dim = attention.heads, attention.kv_heads, attention.head_dim
    qkv = attention.qkv_proj(layer.input_layernorm(x)).view(-1, head_dim)  # [heads + 2·kv, head_dim]
    query, key = torch.split(rotate(qkv[:-kv_heads], *rotary), [heads, kv_heads])
    rows[0].index_copy_(1, position, key[:, None])
    rows[1].index_copy_(1, position, qkv[-kv_heads:, None])
    return query


def finish(layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
    """End a layer for x [1, D] and what its heads attended to [1, heads · head_dim]; return the new x."""
    x = _plus(x, layer.self_attn.o_proj, attended)
    gate, up = layer.mlp.gate_up_proj(layer.post_attention_layernorm(x)).chunk(2, dim=-1)  # each [1, intermediate]
    return _plus(x, layer.mlp.down_proj, F.silu(gate) * up)


def _plus(x: Tensor, linear: nn.Module, y: Tensor) -> Tensor:
    """Return ``x + linear(y)``; where the product can add by itself, in the place of ``x``."""
    if type(linear) is Linear and not torch.compiler.is_compiling():
        return torch.addmm(x, y, linear.weight.t(), out=x)
    total: Tensor = x + linear(y)
    return total
