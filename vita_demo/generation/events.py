"""Token ids to events: the one stream that every way of watching a generation reads."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from vita_demo.generation.detokenizer import Detokenizer
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import FinishReason, StopSignal, StopStrings
from vita_demo.metrics import RunStats


class Sampled(NamedTuple):
    """One generated token.

    Attributes:
        token_id: its id.
        logprob: its log-probability under the model, before penalties and shaping; None where not asked for.
        alternatives: (id, log-probability) of the likeliest tokens, best first.
        together: whether it came in one pass with the token before, and so at the same time.
    """

    token_id: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()
    together: bool = False


class Tokenizer(Protocol):
    """What events need of a tokenizer."""

    @property
    def stop_ids(self) -> Collection[int]:
        """Ids that end an answer."""

    @property
    def states(self) -> Mapping[int, str]:
        """Ids of state tokens and their meaning."""

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Turn ids into text."""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token of the answer.

    Attributes:
        step: its number, from 0.
        token_id: its id.
        text: the text that became certain with it; empty for a state token, a stop token or half a character.
        time_s: the clock when its id was known on the host.
        state: meaning of a state token ("text", "speech" or "noise"); None for all other tokens.
        logprob: its log-probability, where asked for.
        alternatives: (id, log-probability) of the likeliest tokens, where asked for.
    """

    step: int
    token_id: int
    text: str
    time_s: float
    state: str | None = None
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The end of the answer.

    Attributes:
        finish_reason: why it ended.
        text: what was held back until now; only an answer that was interrupted has some.
        time_s: the clock.
        stats: times and rates, where the run was recorded.
    """

    finish_reason: FinishReason
    text: str
    time_s: float
    stats: RunStats | None = None


class TextAssembler:
    """Token ids to visible text: half characters and possible stop strings are held back."""

    def __init__(self, tokenizer: Tokenizer, stop_strings: Sequence[str]) -> None:
        self._detokenizer = Detokenizer(tokenizer.decode)
        self._stop_strings = StopStrings(stop_strings)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""
        return self._stop_strings.found

    def push(self, token_id: int) -> str:
        """Take one token; return the text that became certain."""
        return self._stop_strings.push(self._detokenizer.push(token_id))

    def flush(self) -> str:
        """Return all that was held back."""
        return self._stop_strings.push(self._detokenizer.flush()) + self._stop_strings.flush()


def stream_events(
    tokens: Iterable[Sampled],
    tokenizer: Tokenizer,
    options: GenerationOptions,
    signal: StopSignal | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[TokenEvent | EndEvent]:
    """Turn tokens into events, the last of which is an ``EndEvent``.

    Ends at a stop token, a stop string, ``options.max_new_tokens``, the time limit (counted from here), a request
    through ``signal``, or the end of ``tokens``.
    """
    signal = signal or StopSignal()
    deadline = float("inf") if options.time_limit_s is None else clock() + options.time_limit_s
    assembler = TextAssembler(tokenizer, options.stop_strings)
    stop_ids = frozenset((*tokenizer.stop_ids, *options.stop_token_ids))
    reason: FinishReason | None = None
    arrived = 0.0
    for step, (token_id, logprob, alternatives, together) in enumerate(tokens):
        now = clock()
        arrived = arrived if together else now
        state = tokenizer.states.get(token_id) if step == 0 else None
        text = "" if state or token_id in stop_ids else assembler.push(token_id)
        if token_id in stop_ids or assembler.stopped:
            reason = "stop"
        elif step + 1 >= options.max_new_tokens:
            reason = "length"
        if reason is not None:
            text += assembler.flush()
        yield TokenEvent(step, token_id, text, arrived, state, logprob, alternatives)
        if reason is None and now >= deadline:
            reason = "timeout"
        reason = reason or signal.reason
        if reason is not None:
            break
    yield EndEvent(reason or signal.reason or "length", assembler.flush(), clock())
