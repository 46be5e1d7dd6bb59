"""A conversation: turns that share one KV cache, so that each computes only what is new.

Knows turns, prompts and the cache; knows no commands, files or terminal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vita_demo.answer import Answer, PromptSummary, Turn
from vita_demo.engine.device import memory_guard
from vita_demo.engine.features import Features, encode_media
from vita_demo.engine.generation import Generation, import_engine
from vita_demo.engine.inputs import Inputs
from vita_demo.errors import ConfigError, InputError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder
from vita_demo.model.decode.decoder import Decoder
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.media import Media, load_media
from vita_demo.prompt import Prompt, PromptTurn, build_prompts, system_prompts
from vita_demo.request import Request, check_request

_ADVICE = "take turns back with undo, begin a new conversation, lower --max_new_tokens, or choose --dtype bfloat16"


@dataclass(frozen=True)
class _Exchange:
    """A question with its encoded media, and the turn that it became; None while it is open."""

    request: Request
    features: Features
    turn: Turn | None = None

    @property
    def modality(self) -> str:
        return "image" if self.request.image_paths else "video" if self.request.video_path is not None else "text"

    @property
    def prompt_turn(self) -> PromptTurn:
        answer, answer_ids = (self.turn.answer.text, self.turn.answer.token_ids) if self.turn is not None else ("", ())
        features = self.features
        return PromptTurn(self.request.question, features.count, features.sound is not None, answer, answer_ids)

    def positions(self, prompt: Prompt) -> int:
        return prompt.text_tokens + self.features.image_tokens + self.features.audio_tokens


def check_options(options: GenerationOptions) -> None:
    """Refuse what only transformers' engine can do, which has no cache to continue.

    Raises:
        ConfigError: naming the option.
    """
    if options.uses_transformers:
        raise ConfigError(
            f"{options.needs_transformers or '--engine transformers'} does not go with a conversation, "
            "which continues the native engine's cache; leave it out, "
            "or give --engine native where the checkpoint sets it"
        )


class Conversation:
    """Questions and answers about pictures, videos and sound, one at a time, with memory.

    Invariant: ``cache[:length]`` is a prefix of the conversation's tokens under ``_computed_system``.  What follows it
    is computed with the next question.

    Args:
        pipeline: the loaded model.
        system: a system prompt; None takes the model's own, which depends on the first turn with media.
    """

    def __init__(self, pipeline: Pipeline, system: str | None = None) -> None:
        self._pipeline = pipeline
        self._system = system
        self._exchanges: list[_Exchange] = []
        self._decoder: Decoder | None = None
        self._computed_system = ""

    @property
    def system(self) -> str | None:
        """The user's system prompt; None where the model's own holds."""
        return self._system

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was asked and answered, the oldest first."""
        return tuple(exchange.turn for exchange in self._exchanges if exchange.turn is not None)

    @property
    def positions(self) -> int:
        """Positions of the context that the turns take."""
        return self._positions(self._exchanges, self._system_prompt(self._exchanges))

    @property
    def free_positions(self) -> int:
        """Positions of the context that are left."""
        return max(self._limit - self.positions, 0)

    @property
    def trained_positions(self) -> int:
        """Positions of the longest prompt that the model was trained with."""
        return self._pipeline.settings.config.trained_positions

    def warm_up(self, options: GenerationOptions) -> None:
        """Import what ``options`` need, so that the first answer does not wait for it."""
        import_engine(self._pipeline.model, options)

    def ask(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        signal: StopSignal | None = None,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """Answer ``request`` token by token; the last event says why the answer ended and has the whole of it.

        The answer becomes a turn when its events are read to the end.  One that ``signal`` or Ctrl-C ends, or whose
        reader leaves, is a turn with the tokens that were delivered.  After an error the conversation is as it was.

        Args:
            request: what to answer.
            options: how to generate; None is the checkpoint's defaults, greedy.
            callbacks: who watches; ``on_generation_start`` learns what of the prompt is cached.
            signal: ends the answer from outside.
            on_stage: learns the name of each stage when it begins.

        Raises:
            MediaError: when a file cannot be read.
            InputError: when the conversation does not fit into the context.
            ConfigError: when the options need transformers' engine.
            GenerationError: when memory runs out.
        """
        check_request(request)
        generation = self._begin(options, callbacks, signal, on_stage)
        recorder = generation.recorder
        with recorder.stage("media"):
            media = load_media(request, self._pipeline.settings.config)
        with generation.guard():
            features = encode_media(self._pipeline.model, request, media, recorder)
            return self._answer([*self._exchanges, _Exchange(request, features)], generation, media)

    def regenerate(
        self,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        signal: StopSignal | None = None,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """Answer the last question again, in place of its answer; see ``ask``.

        Raises:
            InputError: when there is no turn.
        """
        if not self._exchanges:
            raise InputError("there is no answer to make again; ask something first")
        generation = self._begin(options, callbacks, signal, on_stage)
        generation.recorder.begin_model()
        with generation.guard():
            return self._answer([*self._exchanges[:-1], replace(self._exchanges[-1], turn=None)], generation, Media())

    def undo(self) -> Turn:
        """Take the last turn back and return it.

        Raises:
            InputError: when there is no turn.
        """
        if not self._exchanges:
            raise InputError("there is no turn to take back; ask something first")
        turn = self.turns[-1]
        del self._exchanges[-1]
        self._truncate(self._positions(self._exchanges, self._computed_system))
        return turn

    def restart(self, system: str | None, turns: Sequence[Turn] = ()) -> None:
        """Begin anew with another system prompt, after ``turns`` that were saved before; their media are read again.

        Raises:
            MediaError: when a file cannot be read; the conversation is then as it was.
            InputError: when the turns are another tokenizer's.
        """
        model, config = self._pipeline.model, self._pipeline.settings.config
        exchanges = []
        for turn in turns:
            self._check_tokens(turn.answer)
            media = load_media(turn.request, config)
            with memory_guard(_ADVICE):
                exchanges.append(_Exchange(turn.request, encode_media(model, turn.request, media, RunRecorder()), turn))
        self._positions(exchanges, system or "")
        self._system, self._exchanges = system, exchanges
        self._truncate(0)

    @property
    def _limit(self) -> int:
        return self._pipeline.model.config.text.max_position_embeddings

    def _check_tokens(self, answer: Answer) -> None:
        tokenizer = self._pipeline.tokenizer
        known = answer.token_ids and all(0 <= token_id < len(tokenizer) for token_id in answer.token_ids)
        if not known or answer.text not in tokenizer.decode(answer.token_ids):
            raise InputError(
                f"the answer {answer.text[:30]!r} is not what its token ids say to this model's tokenizer; "
                "load the conversation with the model that it was saved with"
            )

    def _begin(
        self,
        options: GenerationOptions | None,
        callbacks: Sequence[GenerationCallback],
        signal: StopSignal | None,
        on_stage: Callable[[str], None],
    ) -> Generation:
        model, stop_ids = self._pipeline.model, self._pipeline.tokenizer.stop_ids
        options = options or GenerationOptions.resolve(model.config.generation_defaults)
        check_options(options)
        return Generation(
            model, options, stop_ids, callbacks=callbacks, signal=signal, on_stage=on_stage, advice=_ADVICE
        )

    def _answer(self, exchanges: list[_Exchange], generation: Generation, media: Media) -> Iterator[Event]:
        """Answer the last of ``exchanges``, which is open, and keep them all."""
        free = self._free_positions(exchanges)
        decoder, embeds, input_ids = self._continue(exchanges, min(generation.options.max_new_tokens, free))
        cached = decoder.cache.length
        summary = PromptSummary(
            tokens=cached + embeds.shape[1],
            image_tokens=sum(exchange.features.image_tokens for exchange in exchanges),
            audio_tokens=sum(exchange.features.audio_tokens for exchange in exchanges),
            cached_tokens=cached,
            free_tokens=free,
            frames=media.frames,
            notes=media.notes,
        )

        def keep(answer: Answer | None) -> None:
            if answer is None or not answer.token_ids:
                decoder.cache.truncate(cached)
                return
            turn = Turn(exchanges[-1].request, answer)
            self._exchanges = [*exchanges[:-1], replace(exchanges[-1], turn=turn)]

        return generation.events(Inputs(embeds, input_ids, summary), self._pipeline.tokenizer, decoder, keep)

    def _free_positions(self, exchanges: list[_Exchange]) -> int:
        positions = self._positions(exchanges, self._system_prompt(exchanges))
        if positions >= self._limit:
            raise InputError(
                f"the question takes the conversation to {positions:,} positions and the model has {self._limit:,}, "
                f"{self.free_positions:,} of them free: ask less, take turns back (/undo), or begin a new chat"
            )
        return self._limit - positions

    def _continue(self, exchanges: list[_Exchange], max_new_tokens: int) -> tuple[Decoder, Tensor, list[int]]:
        """Find what of ``exchanges`` the cache holds; return it with the rest's embeddings [1, S, D] and all ids."""
        system = self._system_prompt(exchanges)
        prompts = self._prompts(exchanges, system)
        sizes = [exchange.positions(prompt) for exchange, prompt in zip(exchanges, prompts, strict=True)]
        if system != self._computed_system:
            self._truncate(0)
        # The logits after the last position are needed, so that one is computed in any case.
        self._truncate(sum(sizes) - 1)
        model = self._pipeline.model
        self._decoder = model.decoder(model.rounded(sum(sizes) + max_new_tokens), self._decoder)
        self._computed_system = system
        pieces, known = [], self._decoder.cache.length
        for exchange, prompt, size in zip(exchanges, prompts, sizes, strict=True):
            if known < size:
                features = exchange.features
                embeds = model.embed(prompt.input_ids, features.images, features.sound)  # [1, size, D]
                pieces.append(embeds[:, known:])
            known = max(known - size, 0)
        return self._decoder, torch.cat(pieces, dim=1), [i for prompt in prompts for i in prompt.input_ids]

    def _system_prompt(self, exchanges: Sequence[_Exchange]) -> str:
        """Return the user's system prompt, or the model's own for the first turn with media."""
        modalities = [exchange.modality for exchange in exchanges if exchange.modality != "text"]
        return self._system if self._system is not None else system_prompts()[modalities[0] if modalities else "text"]

    def _prompts(self, exchanges: Sequence[_Exchange], system: str) -> tuple[Prompt, ...]:
        return build_prompts([exchange.prompt_turn for exchange in exchanges], self._pipeline.tokenizer.encode, system)

    def _positions(self, exchanges: Sequence[_Exchange], system: str) -> int:
        prompts = self._prompts(exchanges, system)
        return sum(exchange.positions(prompt) for exchange, prompt in zip(exchanges, prompts, strict=True))

    def _truncate(self, length: int) -> None:
        if self._decoder is not None:
            self._decoder.cache.truncate(length)
