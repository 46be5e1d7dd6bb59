"""One answer among several: a generator that reads its prompt in pieces and then asks for one step after the other."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vita_demo.answer import Answer, PromptSummary
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.generation import Generation
from vita_demo.engine.inputs import Inputs, check_fits
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import ConfigError, GenerationError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event, Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import Sampler, likeliest, make_sampler, sample
from vita_demo.generation.stopping import StopSignal
from vita_demo.preprocess.media import Media
from vita_demo.scheduling.dialogue import Dialogue
from vita_demo.scheduling.pace import Pace
from vita_demo.scheduling.reading import Key, Part, Reading

Work = Generator[int | None, Sampled | None, None]
"""Yields None after a piece of work that lets others go on, or the id of a token whose step it needs; it is then sent
the next token, as ``Job.choose`` or the scheduler samples it of the step's logits, or None to end the answer."""


class Slots(Protocol):
    """Caches for several answers, as far as a job and the scheduler need them; see ``model.decode.slots.Slots``."""

    @property
    def count(self) -> int:
        """How many answers can be made at once."""

    @property
    def capacity(self) -> int:
        """Positions of one slot, prompt and answer together."""

    def length(self, slot: int) -> int:
        """Positions that a slot has."""

    def truncate(self, slot: int, length: int) -> None:
        """Forget a slot's positions from ``length`` on."""

    def prefill(self, slot: int, inputs_embeds: Tensor) -> Tensor:
        """Read [1, S, D] after what the slot has; return the next token's logits [1, vocab_size]."""

    def step(self, slots: list[int], token_ids: Tensor) -> Tensor:
        """Read one token [B] for each of B slots; return the logits [B, vocab_size], valid until the next step."""


class Job:
    """One answer to be made.  Making it accepts the request: t₀ is now.

    Args:
        model: the weights.
        tokenizer: makes ids of text, and text of ids.
        dialogue: what to answer.
        options: how to generate.
        capacity: positions of the slot that it will get.
        owner: whose it is: caches of different owners are kept apart, and none waits for all requests of another.
        callbacks: who watches.
        on_event: takes the events as they come.

    Attributes:
        reading: what the model will read.
        signal: ends the answer from outside.
        stage: what is being done: "queued", "vision", "audio", "prefill", "decode" or "done".
        answer: the answer after its end; None after an error.

    Raises:
        InputError: when the dialogue does not fit into a slot.
        ConfigError: when the options do not go with several answers at once.
    """

    def __init__(  # noqa: PLR0913 - what one answer depends on, each with a default
        self,
        model: VitaForGeneration,
        tokenizer: VitaTokenizer,
        dialogue: Dialogue,
        options: GenerationOptions,
        *,
        capacity: int,
        owner: str = "",
        callbacks: Sequence[GenerationCallback] = (),
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        _check(options)
        self.owner, self.dialogue, self.signal = owner, dialogue, StopSignal()
        self.stage = "queued"
        self.answer: Answer | None = None
        self._model, self._tokenizer, self._capacity, self._on_event = model, tokenizer, capacity, on_event
        self._generation = Generation(
            model, options, tokenizer.stop_ids, callbacks=callbacks, signal=self.signal, on_stage=self._enter
        )
        self._recorder = self._generation.recorder
        self._accepted = self._recorder.clock()
        self._recorder.add_stage("media", sum(each.media.read_s for each in dialogue.exchanges), since_t0=True)
        self.reading = Reading.of(dialogue, tokenizer, model.config)
        self._prompt = self._summary()
        self._options = self._generation.fitted(self._prompt)
        self._sampler: Sampler = likeliest
        self._answer_ids: Tensor | None = None
        self._sampled = 0

    @property
    def greedy(self) -> bool:
        """Whether its next token is the likeliest, so that one operation can find it for several answers."""
        return self._sampler is likeliest and self._options.top_logprobs is None

    @property
    def keys(self) -> tuple[Key, ...]:
        """Keys of all that a slot may hold after the answer: what was read, and the answer's tokens."""
        return self.reading.keys + (() if self.answer is None else self.answer.token_ids)

    def describe(self) -> dict[str, Any]:
        """Say what the model reads, as JSON values, and how many tokens may follow."""
        return {
            "input_ids": list(self.reading.input_ids),
            "prompt": asdict(self._prompt),
            "max_new_tokens": self._options.max_new_tokens,
        }

    def choose(self, logits: Tensor) -> Sampled:
        """Sample the next token from its logits [1, vocab_size]."""
        if self._answer_ids is None:
            raise GenerationError("a token was to be chosen before the prompt was read; this is a defect of vita-demo")
        _, sampled = sample(self._sampler, logits, self._answer_ids, self._sampled, self._options.top_logprobs)
        self._sampled += 1
        return sampled

    def run(self, slots: Slots, slot: int, pace: Pace) -> Work:
        """Make the answer in a slot, after the part of the prompt that the slot has.

        Args:
            slots: all slots.
            slot: the one to use.
            pace: says how large the pieces of work shall be.
        """
        self._recorder.add_stage("queued", self._recorder.clock() - self._accepted)
        generation, options, known = self._generation, self._options, slots.length(slot)
        with generation.guard():
            embeds = yield from self._embed(known, pace)  # [1, S, D]
            self._prompt = self._summary(known)
            inputs = Inputs(embeds, self.reading.input_ids, self._prompt)
            with generation.answering(inputs, options, self._tokenizer, self._keep) as answering:
                logits = yield from self._prefill(slots, slot, embeds, pace)  # [1, vocab_size]
                self._sampler = make_sampler(options, generation.stop_ids, logits.device)
                self._answer_ids = logits.new_empty(1, options.max_new_tokens, dtype=torch.long)
                token: Sampled | None = self.choose(logits)
                self._enter("decode")
                while token is not None:
                    self._on_event(answering.push(token))
                    token = None if answering.reason else (yield token.token_id)
                end = answering.end()
        self._enter("done")
        self._on_event(end)

    def end_unread(self) -> None:
        """End it with the signal's reason before it has a token."""
        now = self._recorder.clock()
        self._recorder.stages.setdefault("queued", now - self._accepted)
        reason = self.signal.reason or "cancelled"
        summary = self._summary()
        self.answer = Answer("", (), reason, None, summary, self._recorder.finish(summary.tokens, now))
        self._enter("done")
        self._on_event(Event("", now, 0, finish_reason=reason, answer=self.answer))

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self._enter("done")
        self._on_event(Event("", self._recorder.clock(), 0, finish_reason="error", error=error))

    def _embed(self, known: int, pace: Pace) -> Generator[None, Sampled | None, Tensor]:
        """Encode the media and embed what follows the first ``known`` positions; return [1, S, D]."""
        self._recorder.begin_model()
        pieces = []
        for part in self.reading.after(known):
            media = self.dialogue.exchanges[part.exchange].media
            images, sound = [], None
            for tiles in self._tiles(media, part, pace):
                with self._recorder.stage("vision"), pace.timing("tile", len(tiles)):
                    images.append(self._model.encode_tiles(tiles))  # [g, P, D]
                yield
            if AUDIO_TOKEN_ID in part.input_ids and media.fbank is not None:
                with self._recorder.stage("audio"):
                    sound = self._model.encode_audio(media.fbank)  # [P, D]
                yield
            pieces.append(self._model.embed(part.input_ids, torch.cat(images) if images else None, sound))
        return torch.cat(pieces, dim=1)

    def _prefill(self, slots: Slots, slot: int, embeds: Tensor, pace: Pace) -> Generator[None, Sampled | None, Tensor]:
        """Read the embeddings [1, S, D] in pieces; return the last one's logits [1, vocab_size]."""
        start = 0
        while True:
            end = start + pace.piece("position", embeds.shape[1] - start)
            with pace.timing("position", end - start):
                logits = slots.prefill(slot, embeds[:, start:end])
            if end == embeds.shape[1]:
                return logits
            start = end
            yield

    def _tiles(self, media: Media, part: Part, pace: Pace) -> Iterator[NDArray[np.uint8]]:
        """Yield the tiles [N, S, S, 3] of the part's placeholders, a few at a time where others wait."""
        size, groups = self._model.config.tiles_per_feature, part.input_ids.count(IMAGE_TOKEN_ID)
        while groups and media.tiles is not None:
            step = pace.piece("tile", groups)
            yield media.tiles[part.group * size : (part.group + step) * size]
            part, groups = replace(part, group=part.group + step), groups - step

    def _summary(self, known: int = 0) -> PromptSummary:
        reading, dialogue = self.reading, self.dialogue
        summary = PromptSummary(
            tokens=reading.positions,
            image_tokens=reading.positions_of(IMAGE_TOKEN_ID),
            audio_tokens=reading.positions_of(AUDIO_TOKEN_ID),
            cached_tokens=known,
            free_tokens=self._capacity - reading.positions,
            frames=dialogue.exchanges[-1].media.frames,
            notes=dialogue.exchanges[-1].media.notes,
        )
        check_fits(summary)
        return summary

    def _keep(self, answer: Answer | None) -> None:
        self.answer = answer

    def _enter(self, stage: str) -> None:
        self.stage = stage


def _check(options: GenerationOptions) -> None:
    other = "--engine transformers" if options.engine == "transformers" else options.needs_transformers
    if options.uses_transformers or options.speculate:
        name = other if options.uses_transformers else f"--speculate {options.speculate}"
        raise ConfigError(f"{name} does not go with several answers at once; leave it out")
