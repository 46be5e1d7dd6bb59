"""Token ids to events, the stream that every reader of an answer reads."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from vita_demo.answer import Answer, FinishReason
from vita_demo.errors import GenerationError
from vita_demo.generation.detokenizer import Detokenizer
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal, StopStrings


class Sampled(NamedTuple):
    """One generated token.

    Attributes:
        token_id: its id.
        logprob: its log-probability under the model, before penalties and filters; None without ``top_logprobs``.
        alternatives: (id, log-probability) of the likeliest tokens, best first.
        together: whether the same pass gave the token before it, so that both arrived at the same time.
    """

    token_id: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()
    together: bool = False


class Tokenizer(Protocol):
    """A tokenizer, as far as events need it."""

    @property
    def stop_ids(self) -> Collection[int]:
        """Ids that end an answer."""

    @property
    def states(self) -> Mapping[int, str]:
        """Ids of state tokens and their meaning."""

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Turn ids into text."""


@dataclass(frozen=True, slots=True)
class Event:
    """A token of the answer, or its end.

    ``text`` joined over all events is the answer.  Only the last event has a ``finish_reason``; it has no token of
    its own.

    Attributes:
        text: the text that the token completes; empty for a state token, a stop token or part of a character.
        time_s: the clock when the token's id reached the host, or when the answer ended.
        step: the token's number, from 0; in the last event the number of tokens.
        token_id: the token's id; None in the last event.
        state: meaning of a state token ("text", "speech" or "noise"); None for all other tokens.
        logprob: the token's log-probability, with ``top_logprobs``.
        alternatives: (id, log-probability) of the likeliest tokens, best first, with ``top_logprobs``.
        finish_reason: why the answer ended; None before the last event.
        answer: the whole answer and its statistics, in the last event of a watched generation; None after an error.
        error: what went wrong, with the finish reason "error": only where several answers are made at once, since a
            single one raises it.
    """

    text: str
    time_s: float
    step: int
    token_id: int | None = None
    state: str | None = None
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None
    answer: Answer | None = None
    error: Exception | None = None


class EventMaker:
    """Makes the events of one answer of its tokens, and knows when and why it ends.

    It ends at a stop token, a stop string, ``options.max_new_tokens``, the time limit (from when this is made), or a
    request through ``signal``.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        options: GenerationOptions,
        signal: StopSignal | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._states = tokenizer.states
        self._stop_ids = options.all_stop_ids(tokenizer.stop_ids)
        self._options = options
        self._signal = signal or StopSignal()
        self._clock = clock
        self._deadline = float("inf") if options.time_limit_s is None else clock() + options.time_limit_s
        self._detokenizer, self._stop_strings = Detokenizer(tokenizer.decode), StopStrings(options.stop_strings)
        self._reason: FinishReason | None = None
        self._early: FinishReason | None = None
        self._count, self._arrived = 0, 0.0

    @property
    def reason(self) -> FinishReason | None:
        """Why no further token is wanted; None while one is."""
        return self._reason or (None if self._early else self._signal.reason)

    def push(self, token: Sampled) -> Event:
        """Return the event of the next token."""
        now = self._clock()
        step, self._count = self._count, self._count + 1
        if step == 0 and self._options.num_beams > 1:
            # The search is over: what ended it early does not cut the tokens of the best beam as well.
            self._early, self._deadline = self._requested(now), float("inf")
        self._arrived = self._arrived if token.together else now
        state = self._states.get(token.token_id) if step == 0 else None
        ends = token.token_id in self._stop_ids
        text = "" if state or ends else self._stop_strings.push(self._detokenizer.push(token.token_id))
        if ends or self._stop_strings.found:
            self._reason = "stop"
        elif self._count >= self._options.max_new_tokens:
            self._reason = "length"
        elif not self._early:
            self._reason = self._requested(now)
        if self._reason is not None:
            text += self._flush()
        return Event(text, self._arrived, step, token.token_id, state, token.logprob, token.alternatives)

    def end(self) -> Event:
        """Return the last event."""
        reason = self._reason or self._signal.reason or self._early or "length"
        # What a stop string held back when a callback ended the answer has no token to go with.
        return Event(self._flush(), self._clock(), self._count, finish_reason=reason)

    def _flush(self) -> str:
        return self._stop_strings.push(self._detokenizer.flush()) + self._stop_strings.flush()

    def _requested(self, now: float) -> FinishReason | None:
        return self._signal.reason or ("timeout" if now >= self._deadline else None)


def answer_of(events: Iterable[Event]) -> Answer:
    """Read the events of a watched generation to their end; return the whole answer.

    Raises:
        GenerationError: when they end without one, as unwatched events do.
    """
    answer = None
    for event in events:
        answer = event.answer
    if answer is None:
        raise GenerationError("the events ended without an answer; read those of a watched generation")
    return answer
