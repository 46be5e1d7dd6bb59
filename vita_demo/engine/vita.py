"""The model that users get: the architecture, and what it takes to generate with it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.device import configure
from vita_demo.engine.forward import forward
from vita_demo.engine.generate import generate
from vita_demo.errors import ConfigError
from vita_demo.model.decode.cuda_graph import Capture, capture_on, fall_back_with_warning
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.padded_graphs import PaddedGraphs
from vita_demo.model.decode.prefill import Prefill
from vita_demo.model.loading.transformers_bridge import to_transformers
from vita_demo.model.vita import VitaModel

# Positions.  Caches that live longer than one answer grow by whole steps, so that they are seldom made anew.  On a GPU
# steps are prepared for one cache, so the first one is large enough for a picture of 13 tiles and its answer.
_CPU_CAPACITY_STEP, _GPU_CAPACITY_STEP = 1024, 8192
# Tiles that the vision encoder is captured for.  More keep a GPU busy longer than launching their operations takes.
_TILES = (1, 3, 5)
# Filter-bank frames that the audio encoder is captured for: the fewest that make 128 and 256 positions in it, which is
# how wide masks of attention need no padding of their own.
_FRAMES = (515, 1027)


class VitaForGeneration(VitaModel):
    """VITA-1.5 with ``generate``, a pool of decoders and a bridge to transformers' own model.

    Attributes:
        prefill: reads prompts.
        tokenizer: the checkpoint's, which ``generate`` looks for stop strings with; None without one.
    """

    generate = generate
    forward = forward

    def __init__(self, config: VitaConfig) -> None:
        super().__init__(config)
        self.tokenizer: VitaTokenizer | None = None
        self.prefill = Prefill(self.language_model)
        self._vision: PaddedGraphs | None = None
        self._audio: PaddedGraphs | None = None
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
            self._transformers = (to_transformers(self.language_model),)
        return self._transformers[0]

    def prepare(self) -> None:
        """On a GPU capture a decode step, so that no answer waits for it; call it when the weights are there."""
        configure(self.device)
        if self._captures:
            with self.lend_decoder(1):
                pass

    def prepare_inputs(self) -> None:
        """On a GPU capture how short prompts and small media are read.

        That takes seconds and saves milliseconds of each answer: it pays where many are made.
        """
        capture = capture_on(self.device, share_memory=True)
        if capture is not None and self._vision is None:
            self.prefill.prepare(capture)
            self._prepare_encoders(capture)

    def encode_groups(self, groups: Tensor) -> Tensor:
        """See ``VitaModel``; few groups are encoded by a captured call, once it is prepared."""
        if self._vision is None or not self._vision.serves(groups):
            return super().encode_groups(groups)
        with self._vision.replay(groups) as features:
            return features[: len(groups)].clone()  # [G, P, D]

    def encode_clip(self, fbank: Tensor) -> Tensor:
        """See ``VitaModel``; a short clip is encoded by a captured call, once it is prepared."""
        positions = self.config.audio.positions(len(fbank))
        if self._audio is None or not positions or not self._audio.serves(fbank):
            return super().encode_clip(fbank)
        with self._audio.replay(fbank) as features:
            return features[:positions].clone()  # [P, D]

    @torch.inference_mode()
    def _prepare_encoders(self, capture: Capture) -> None:
        group, side, bins = self.config.tiles_per_feature, self.config.vision.image_size, self.config.audio.num_mel_bins
        sizes = sorted({-(-tiles // group) for tiles in _TILES})
        generator, encode_groups = torch.Generator(self.device).manual_seed(0), super().encode_groups
        groups = torch.empty(sizes[-1], group, 3, side, side, dtype=self.dtype, device=self.device)
        frames = torch.empty(_FRAMES[-1], bins, device=self.device)
        for rows in (groups, frames):
            rows.normal_(generator=generator)
        with fall_back_with_warning("the encoders cannot be captured as CUDA graphs"):
            self._vision = PaddedGraphs(lambda rows, _last: encode_groups(rows), groups, sizes, capture)
            encode = self.audio_encoder
            self._audio = PaddedGraphs(lambda rows, last: encode(rows[None], last)[0], frames, _FRAMES, capture)

    def decoder(self, capacity: int, previous: Decoder | None = None) -> Decoder:
        """Begin a generation of at most ``capacity`` positions, prompt and answer together.

        With a ``previous`` decoder the generation continues after the positions that it holds: by itself, or with a
        larger copy of its cache where that is too small.
        """
        if previous is None:
            # Another thread may take the last one.
            with suppress(IndexError):
                previous = self._spare.pop()
                previous.cache.truncate(0)
        if previous is not None and previous.cache.capacity >= capacity:
            return previous
        if previous is not None and not previous.cache.length:
            # Dropped first, so that two caches are never held.
            previous = None
        model = self.language_model
        with torch.inference_mode():
            cache = model.allocate_cache(capacity) if previous is None else model.grow_cache(previous.cache, capacity)
            return Decoder(model, cache, capture=capture_on(self.device), prefill=self.prefill)

    @contextmanager
    def lend_decoder(self, capacity: int) -> Iterator[Decoder]:
        """Lend an empty decoder for one generation; on a GPU it goes back into the pool, as its steps are prepared."""
        decoder = self.decoder(self.rounded(capacity) if self._captures else capacity)
        try:
            yield decoder
        finally:
            if self._captures and not self._spare:
                self._spare.append(decoder)

    def rounded(self, capacity: int) -> int:
        """Round a cache's capacity up, within the context, so that it also serves a somewhat longer text."""
        step = _GPU_CAPACITY_STEP if self._captures else _CPU_CAPACITY_STEP
        limit = max(capacity, self.config.text.max_position_embeddings)
        return min(-(-capacity // step) * step, limit)

    @property
    def _captures(self) -> bool:
        return capture_on(self.device) is not None
