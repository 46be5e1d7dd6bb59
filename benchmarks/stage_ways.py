"""The stages before decoding, each as a call on a model with random weights, and the least that it must do."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.floors import Work, audio_flop, prefill_flop, vision_flop
from benchmarks.machine import timed
from benchmarks.shapes import Shape
from benchmarks.watchers import Letters
from vita_demo.answer import PromptSummary
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.engine.generation import Generation
from vita_demo.engine.inputs import Inputs
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.generation.options import GenerationOptions

# Positions of a prompt that is all text, and of the text beside media.
_TEXT, _BESIDE = 256, 72
# What the answer may grow to, for which room is made before the first token.
_ANSWER = 128


@dataclass(frozen=True)
class Timing:
    """One run: its seconds, and what a prefill returned."""

    seconds: float
    logits: Tensor | None = None


@dataclass(frozen=True)
class Stage:
    """One stage of one size.

    Attributes:
        run: does it once.
        work: what it must do, one part after the other.
        positions: that the language model reads.
        rival: name of the stage that another program does the same in.
    """

    run: Callable[[], Timing]
    work: Sequence[Work]
    positions: int = 0
    rival: str | None = None


class Stages:
    """Makes stages over one model."""

    def __init__(self, shape: Shape, model: VitaForGeneration) -> None:
        self.shape, self.model, self.config = shape, model, model.config
        self._random = np.random.default_rng(shape.seed)

    def vision(self, tiles: int) -> dict[str, Stage]:
        """Encode whitened tiles that are on the device."""
        pixels = self.model.vision_encoder.normalize(torch.from_numpy(self._tiles(tiles)).to(self.shape.device))
        pixels = pixels.to(self.shape.dtype).contiguous()
        run = partial(self._timing, lambda: self.model.encode_images(pixels))
        return {f"vision, {tiles} tiles": Stage(run, [self._vision_work(tiles)])}

    def audio(self, seconds: float) -> dict[str, Stage]:
        """Encode a filter bank that is on the host."""
        fbank = self._fbank(seconds)
        run = partial(self._timing, lambda: self.model.encode_audio(fbank))
        return {f"audio, {seconds:g} s": Stage(run, [self._audio_work(len(fbank))])}

    def prefill(self, positions: int) -> dict[str, Stage]:
        """Read a prompt up to the next token's logits, natively and with transformers."""
        prompt, work = self.shape.prompt(positions), [self._prefill_work(positions)]
        theirs, decoder = self.model.as_transformers(), self.model.decoder(positions + _ANSWER)

        def read() -> Tensor:
            decoder.cache.truncate(0)
            return decoder.prefill(prompt)

        ours = partial(self._prefill, read)
        rival = partial(self._prefill, lambda: theirs(inputs_embeds=prompt, logits_to_keep=1).logits[:, -1])
        name = f"prefill, {positions} positions"
        return {
            name: Stage(ours, work, positions, rival=f"{name}, transformers"),
            f"{name}, transformers": Stage(rival, work, positions),
        }

    def first_token(self, name: str, tiles: int = 0, seconds: float = 0.0) -> dict[str, Stage]:
        """Encode media that are on the host and answer, up to the first token on the host."""
        pixels, fbank = self._tiles(tiles) if tiles else None, self._fbank(seconds) if seconds else None
        groups = -(-tiles // self.config.tiles_per_feature)
        words = _BESIDE if tiles or seconds else _TEXT
        positions = words + groups * self.config.vision.positions_per_tile
        work = [self._vision_work(tiles)] if tiles else []
        if fbank is not None:
            positions += self.config.audio.positions(len(fbank))
            work.append(self._audio_work(len(fbank)))
        work.append(self._prefill_work(positions))
        ids = [1] * words + [IMAGE_TOKEN_ID] * groups + [AUDIO_TOKEN_ID] * (fbank is not None)
        run = partial(self._first_token, ids, pixels, fbank)
        return {f"first token, {name}": Stage(run, work, positions)}

    def _timing(self, call: Callable[[], object]) -> Timing:
        return Timing(timed(call, self.shape.device))

    def _prefill(self, call: Callable[[], Tensor]) -> Timing:
        found: list[Tensor] = []
        with torch.inference_mode():
            seconds = timed(lambda: found.append(call()), self.shape.device)
        return Timing(seconds, found[0].float().cpu())

    def _first_token(self, ids: Sequence[int], pixels: Any, fbank: Any) -> Timing:
        start = time.perf_counter()
        images = None if pixels is None else self.model.encode_tiles(pixels)
        sound = None if fbank is None else self.model.encode_audio(fbank)
        embeds, options = self.model.embed(ids, images, sound), GenerationOptions(max_new_tokens=_ANSWER)
        inputs = Inputs(embeds, ids, PromptSummary(embeds.shape[1], free_tokens=_ANSWER))
        events = Generation(self.model, options, ()).events(inputs, Letters())
        next(events)
        seconds = time.perf_counter() - start
        events.close()  # type: ignore[attr-defined]
        return Timing(seconds)

    def _tiles(self, count: int) -> Any:
        size = self.config.vision.image_size
        return self._random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)

    def _fbank(self, seconds: float) -> Any:
        audio = self.config.audio
        frames = int((seconds * 1000 - audio.frame_length_ms) // audio.frame_shift_ms) + 1
        return self._random.standard_normal((frames, audio.num_mel_bins), dtype=np.float32)

    def _vision_work(self, tiles: int) -> Work:
        weights = _bytes(self.model.vision_encoder) + _bytes(self.model.projector)
        return Work(vision_flop(self.config, tiles), weights)

    def _audio_work(self, frames: int) -> Work:
        return Work(audio_flop(self.config.audio, frames), _bytes(self.model.audio_encoder))

    def _prefill_work(self, positions: int) -> Work:
        return Work(prefill_flop(self.config.text, positions), self.model.language_model.bytes_per_token(0))


def _bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())
