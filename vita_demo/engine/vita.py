"""The model that users get: the architecture, and what it takes to generate with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.engine.generate import generate
from vita_demo.errors import ConfigError
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.vita import VitaModel

# Positions.  Caches that live longer than one answer grow by whole steps, so that they are seldom made anew.
_CAPACITY_STEP = 1024


class VitaForGeneration(VitaModel):
    """VITA-1.5 with ``generate``, a pool of decoders and a bridge to transformers' own model.

    Args:
        config: its settings.
        compiled: have torch's compiler fuse the decode steps.
    """

    generate = generate

    def __init__(self, config: VitaConfig, compiled: bool = False) -> None:
        super().__init__(config)
        self.compiled = compiled
        self._spare: list[Decoder] = []
        # A tuple hides it from torch, which would take it for a submodule.
        self._transformers: tuple[Any] | None = None

    def as_transformers(self) -> Any:
        """Return the language model as transformers' ``Qwen2ForCausalLM``, made once, with the same tensors.

        Raises:
            ConfigError: when the weights are quantized, so that there are no tensors to share.
        """
        if self.quantize is not None:
            raise ConfigError(
                f"transformers' engine runs no {self.quantize} weights; load the model without --quantize"
            )
        if self._transformers is None:
            from vita_demo.model.loading.transformers_bridge import to_transformers

            self._transformers = (to_transformers(self.language_model),)
        return self._transformers[0]

    def decoder(self, capacity: int, previous: Decoder | None = None) -> Decoder:
        """Begin a generation of at most ``capacity`` positions, prompt and answer together.

        With a ``previous`` decoder the generation continues after the positions that it holds: by itself, or with a
        larger copy of its cache where that is too small.
        """
        if previous is not None and previous.cache.capacity >= capacity:
            return previous
        with torch.inference_mode():
            if previous is None:
                cache = self.language_model.allocate_cache(capacity)
            else:
                cache = self.language_model.grow_cache(previous.cache, capacity)
            return Decoder(self.language_model, cache, compiled=self.compiled)

    @contextmanager
    def lend_decoder(self, capacity: int) -> Iterator[Decoder]:
        """Lend an empty decoder from the pool for one generation.

        Only one that had to prepare its steps goes back into the pool, as its preparations belong to its cache.
        """
        decoder = self._spare.pop() if self._spare else None
        if decoder is None or decoder.cache.capacity < capacity:
            # Dropped first, so that two caches are never held.
            decoder = None
            decoder = self.decoder(self.rounded(capacity) if self._keeps_decoders else capacity)
        decoder.cache.truncate(0)
        try:
            yield decoder
        finally:
            if decoder.prepares and not self._spare:
                self._spare.append(decoder)

    @torch.inference_mode()
    def prepare_steps(self) -> None:
        """Take one step for nothing, so that the first generation need not compile or capture it."""
        nothing = torch.zeros(1, dtype=torch.long, device=self.device)
        with self.lend_decoder(2) as decoder:
            decoder.prefill(self.language_model.embed_tokens(nothing)[None])
            decoder.step(nothing)

    def rounded(self, capacity: int) -> int:
        """Round a cache's capacity up, within the context, so that it also serves a somewhat longer text."""
        limit = max(capacity, self.config.text.max_position_embeddings)
        return min(-(-capacity // _CAPACITY_STEP) * _CAPACITY_STEP, limit)

    @property
    def _keeps_decoders(self) -> bool:
        return self.compiled or self.device.type != "cpu"
