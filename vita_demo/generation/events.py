"""Token ids to events, the stream that every reader of an answer reads."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
        answer: the whole answer and its statistics, in the last event of a watched generation.
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


def stream_events(
    tokens: Iterable[Sampled],
    tokenizer: Tokenizer,
    options: GenerationOptions,
    signal: StopSignal | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Event]:
    """Turn tokens into events; the last one says why the answer ended.

    Ends at a stop token, a stop string, ``options.max_new_tokens``, the time limit (from the first ``next``), a
    request through ``signal``, or the end of ``tokens``.
    """
    signal = signal or StopSignal()
    deadline = float("inf") if options.time_limit_s is None else clock() + options.time_limit_s
    detokenizer, stop_strings = Detokenizer(tokenizer.decode), StopStrings(options.stop_strings)

    def flush() -> str:
        return stop_strings.push(detokenizer.flush()) + stop_strings.flush()

    def requested(now: float) -> FinishReason | None:
        return signal.reason or ("timeout" if now >= deadline else None)

    stop_ids = options.all_stop_ids(tokenizer.stop_ids)
    reason: FinishReason | None = None
    early: FinishReason | None = None
    count, arrived = 0, 0.0
    for step, (token_id, logprob, alternatives, together) in enumerate(tokens):
        now = clock()
        if step == 0 and options.num_beams > 1:
            # The search is over: what ended it early does not cut the tokens of the best beam as well.
            early, deadline = requested(now), float("inf")
        arrived = arrived if together else now
        count = step + 1
        state = tokenizer.states.get(token_id) if step == 0 else None
        text = "" if state or token_id in stop_ids else stop_strings.push(detokenizer.push(token_id))
        if token_id in stop_ids or stop_strings.found:
            reason = "stop"
        else:
            reason = "length" if count >= options.max_new_tokens else None if early else requested(now)
        if reason is not None:
            text += flush()
        yield Event(text, arrived, step, token_id, state, logprob, alternatives)
        reason = reason or (None if early else signal.reason)
        if reason is not None:
            break
    # What a stop string held back when a callback ended the answer has no token to go with.
    yield Event(flush(), clock(), count, finish_reason=reason or signal.reason or early or "length")


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
