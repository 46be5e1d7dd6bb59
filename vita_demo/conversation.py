"""A conversation: turns that share one KV cache, so that each computes only what is new.

Knows turns, prompts and the cache; knows no commands, files or terminal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vita_demo.answer import Turn, TurnStart
from vita_demo.engine.device import memory_guard, reset_peak_memory
from vita_demo.engine.engine import Watch, continued_events, record, warm_up
from vita_demo.engine.features import Features, encode_media
from vita_demo.errors import ConfigError, InputError
from vita_demo.generation.events import EndEvent, TokenEvent
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder
from vita_demo.model.decode.decoder import Decoder
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.media import load_media
from vita_demo.prompt import Prompt, PromptTurn, build_prompts, system_prompts
from vita_demo.request import Request

# The cache grows by whole steps, so that not every turn copies it.
_CAPACITY_STEP = 1024
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
        answer, answer_ids = (self.turn.text, self.turn.token_ids) if self.turn is not None else ("", ())
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
            "which continues the native engine's cache; leave it out"
        )


class Conversation:
    """Questions and answers about pictures, videos and sound, one at a time, with memory.

    What holds at any time: the cache's first ``length`` positions are the beginning of what the turns amount to under
    the system prompt that was last computed.  All that lies behind them is computed with the next question.

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

    def ask(
        self, request: Request, options: GenerationOptions | None = None, *, signal: StopSignal | None = None
    ) -> Iterator[TurnStart | TokenEvent | EndEvent | Turn]:
        """Answer ``request`` token by token: its start, token events, an end event, and at last the turn.

        An answer that ``signal`` or Ctrl-C ends, or whose reader closes this, is a turn with the tokens that were
        delivered.
        After an error the conversation is as it was.

        Args:
            request: what to answer.
            options: how to generate; None is the checkpoint's defaults, greedy.
            signal: ends the answer from outside.

        Raises:
            MediaError: when a file cannot be read.
            InputError: when the conversation does not fit into the context.
            ConfigError: when the options need transformers' engine.
            GenerationError: when memory runs out.
        """
        options, watch = self._prepare(options, signal)
        recorder = watch.recorder
        with recorder.stage("media"):
            media = load_media(request, self._pipeline.settings.config)
        with memory_guard(_ADVICE):
            features = encode_media(self._pipeline.model, request, media, recorder)
            asked = _Exchange(request, features)
            yield from self._answer([*self._exchanges, asked], options, watch, media.notes)

    def regenerate(
        self, options: GenerationOptions | None = None, *, signal: StopSignal | None = None
    ) -> Iterator[TurnStart | TokenEvent | EndEvent | Turn]:
        """Answer the last question again, in place of its answer; see ``ask``.

        Raises:
            InputError: when there is no turn.
        """
        if not self._exchanges:
            raise InputError("there is no answer to make again; ask something first")
        options, watch = self._prepare(options, signal)
        watch.recorder.begin_model()
        asked = replace(self._exchanges[-1], turn=None)
        with memory_guard(_ADVICE):
            yield from self._answer([*self._exchanges[:-1], asked], options, watch, ())

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
            InputError: when the system prompt holds a marker of media, or the turns are another tokenizer's.
        """
        model, config = self._pipeline.model, self._pipeline.settings.config
        exchanges = []
        for turn in turns:
            self._check_tokens(turn)
            media = load_media(turn.request, config)
            with memory_guard(_ADVICE):
                exchanges.append(_Exchange(turn.request, encode_media(model, turn.request, media, RunRecorder()), turn))
        self._positions(exchanges, system or "")
        self._system, self._exchanges = system, exchanges
        self._truncate(0)

    @property
    def _limit(self) -> int:
        return self._pipeline.model.config.text.max_position_embeddings

    def _check_tokens(self, turn: Turn) -> None:
        tokenizer = self._pipeline.tokenizer
        known = turn.token_ids and all(0 <= token_id < len(tokenizer) for token_id in turn.token_ids)
        if not known or turn.text not in tokenizer.decode(turn.token_ids):
            raise InputError(
                f"the answer {turn.text[:30]!r} is not what its token ids say to this model's tokenizer; "
                "load the conversation with the model that it was saved with"
            )

    def _prepare(self, options: GenerationOptions | None, signal: StopSignal | None) -> tuple[GenerationOptions, Watch]:
        model = self._pipeline.model
        options = options or GenerationOptions.resolve(self._pipeline.settings.config.generation_defaults)
        check_options(options)
        warm_up(model, options)
        reset_peak_memory(model.device)
        return options, Watch(record(model), signal=signal or StopSignal())

    def _answer(
        self, exchanges: list[_Exchange], options: GenerationOptions, watch: Watch, notes: tuple[str, ...]
    ) -> Iterator[TurnStart | TokenEvent | EndEvent | Turn]:
        """Answer the last of ``exchanges``, which is open, and keep them all."""
        free = self._free_positions(exchanges)
        options = replace(options, max_new_tokens=min(options.max_new_tokens, free))
        decoder, embeds, input_ids = self._continue(exchanges, options.max_new_tokens)
        start = TurnStart(notes, decoder.cache.length, embeds.shape[1], free)
        tokens: list[TokenEvent] = []
        end: EndEvent | None = None
        try:
            yield start
            for event in continued_events(decoder, self._pipeline.tokenizer, embeds, input_ids, options, watch):
                if isinstance(event, TokenEvent):
                    tokens.append(event)
                else:
                    end = event
                yield event
        except (GeneratorExit, KeyboardInterrupt):
            now = watch.recorder.clock()
            end = end or EndEvent("cancelled", "", now, watch.recorder.finish(start.computed_positions, now))
            raise
        finally:
            if tokens and end is not None:
                turn = _turn(exchanges[-1].request, start, tokens, end)
                self._exchanges = [*exchanges[:-1], replace(exchanges[-1], turn=turn)]
            else:
                decoder.cache.truncate(start.reused_positions)
        yield turn

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
        needed = sum(sizes) + max_new_tokens
        capacity = min(-(-needed // _CAPACITY_STEP) * _CAPACITY_STEP, self._limit)
        self._decoder = self._pipeline.model.decoder(capacity, self._decoder)
        self._computed_system = system
        pieces, known = [], self._decoder.cache.length
        for exchange, prompt, size in zip(exchanges, prompts, sizes, strict=True):
            if known < size:
                features = exchange.features
                embeds = self._pipeline.model.embed(prompt.input_ids, features.images, features.sound)  # [1, size, D]
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


def _turn(request: Request, start: TurnStart, tokens: Sequence[TokenEvent], end: EndEvent) -> Turn:
    return Turn(
        request=request,
        text="".join(event.text for event in tokens) + end.text,
        token_ids=tuple(event.token_id for event in tokens),
        finish_reason=end.finish_reason,
        state=tokens[0].state,
        reused_positions=start.reused_positions,
        stats=end.stats,
    )
