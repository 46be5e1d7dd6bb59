"""Reads prompts: a short one into an empty cache by a CUDA graph, any other through the modules."""

import logging

import torch
from torch import Tensor

from vita_demo.model.decode.cuda_graph import Capture, fall_back_with_warning
from vita_demo.model.decode.padded_graphs import PaddedGraphs
from vita_demo.model.language_model import KVCache, LanguageModel

logger = logging.getLogger("vita_demo.model")

# Positions.  Longer prompts keep the GPU busy longer than launching their operations takes.
_SIZES = (64, 128, 256, 384, 512)


class Prefill:
    """Reads the prompts of one model into any cache of one sequence; through the modules until ``prepare`` is called.

    Args:
        model: the weights.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._prepared: tuple[PaddedGraphs, KVCache] | None = None

    @torch.inference_mode()
    def prepare(self, capture: Capture) -> None:
        """Capture prompts of several sizes.  Others are padded: attention is causal, so they do not see it."""
        model = self._model
        cache = model.allocate_cache(max(_SIZES))
        generator = torch.Generator(cache.keys.device).manual_seed(0)
        rows = cache.keys.new_empty(cache.capacity, model.config.hidden_size).normal_(generator=generator)

        def read(rows: Tensor, last: Tensor) -> Tensor:
            """Fill the cache from its start with rows [S, D]; return the logits after one of them [1, vocab_size]."""
            x = rows[None]  # [1, S, D]
            for index, layer in enumerate(model.layers):
                x = layer(x, cache, index)
            logits: Tensor = model.lm_head(model.norm(x[0].index_select(0, last)))  # [1, vocab_size]
            return logits

        with fall_back_with_warning("short prompts cannot be captured as CUDA graphs"):
            self._prepared = PaddedGraphs(read, rows, _SIZES, capture), cache
            logger.info("captured prompts of up to %d positions", cache.capacity)

    @torch.inference_mode()
    def __call__(self, inputs_embeds: Tensor, cache: KVCache) -> Tensor:
        """Append a prompt [1, S, D] to the cache; return the next token's logits [1, vocab_size]."""
        if cache.length or self._prepared is None or not self._prepared[0].serves(inputs_embeds[0]):
            logits: Tensor = self._model(inputs_embeds, cache)
            return logits
        (graphs, own), filled = self._prepared, inputs_embeds.shape[1]
        with graphs.replay(inputs_embeds[0]) as logits:
            cache.keys[:, :, :, :filled] = own.keys[:, :, :, :filled]
            cache.values[:, :, :, :filled] = own.values[:, :, :, :filled]
            cache.length = filled
            return logits.clone()
