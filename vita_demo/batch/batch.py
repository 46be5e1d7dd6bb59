"""Answers all rows of the input that the output does not have yet."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from vita_demo.batch.input import Input
from vita_demo.batch.output import ANSWER_COLUMNS, Output, Result
from vita_demo.batch.row import Key, Row, question_of, request_of
from vita_demo.errors import InputError, VitaDemoError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request, Sampling

logger = logging.getLogger("vita_demo.batch")
# Messages name the flags of a single question, which here are columns.
_FLAG = re.compile(r"^--(question|image_path|video_path|audio_path)\b")


class Answers(Protocol):
    """What answers many requests: a ``Pipeline``, or a cluster."""

    def stream_many(
        self,
        requests: Iterable[Request],
        options: GenerationOptions,
        *,
        slots: int | None,
        signal: StopSignal,
        isolated: bool,
    ) -> Iterator[tuple[int, Event]]:
        """Yield the number of a request and an event of its answer; see ``Pipeline.stream_many``."""


@dataclass
class Progress:
    """How far a batch is.

    Attributes:
        total: rows of the input; None where that is not known.
        before: rows that an earlier run did.
        rows, tokens, errors: of this run.
        start_s: the clock when it began.
    """

    total: int | None
    before: int
    rows: int = 0
    tokens: int = 0
    errors: int = 0
    start_s: float = field(default_factory=time.perf_counter)

    def add(self, result: Result) -> None:
        """Count a row."""
        self.rows += 1
        self.tokens += result["answer_tokens"] or 0
        self.errors += bool(result["error"])

    @property
    def seconds(self) -> float:
        """Since the start."""
        return max(time.perf_counter() - self.start_s, 1e-9)

    def describe(self) -> str:
        """Say in one line how far it is, and how fast."""
        of = "" if self.total is None else f" of {self.total:,}"
        rate = self.rows / self.seconds
        left_s = None if self.total is None or not self.rows else (self.total - self.before - self.rows) / rate
        parts = [
            f"{self.before + self.rows:,}{of} rows",
            f"{rate:,.1f} rows/s",
            f"{self.tokens / self.seconds:,.0f} tokens/s",
            f"{self.errors:,} error{'' if self.errors == 1 else 's'}",
            "" if left_s is None else f"{_clock(left_s)} left",
        ]
        return " · ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True)
class Batch:
    """What a batch shall do.

    Attributes:
        input: the rows.
        question: see ``request_of``.
        sampling: see ``request_of``.
        options: how to generate.
        slots: how many answers at once; None takes what fits.
    """

    input: Input
    question: str
    sampling: Sampling
    options: GenerationOptions
    slots: int | None = None

    def run(
        self,
        answers: Answers,
        output: Output,
        signal: StopSignal,
        show: Callable[[Progress], None] = lambda _: None,
    ) -> Progress:
        """Answer the rows that ``output`` does not have, and write them in the order of the input.

        Args:
            answers: makes the answers.
            output: takes the rows.
            signal: ends the batch; what is not answered is left for the next run.
            show: called after each row.

        Raises:
            InputError: when the output has answers to something else.
        """
        progress = Progress(self.input.total, len(output.done))
        order: dict[Key, int] = {}
        asked: dict[int, tuple[int, Result]] = {}
        results, accepted = _InOrder(output, progress, show), count()

        def requests() -> Iterator[Request]:
            for place, row in enumerate(self.input.rows()):
                order[row.key] = place
                columns = self._columns(row)
                if row.key in output.done:
                    output.check(columns)
                    continue
                number = results.expect()
                try:
                    request = request_of(row, self.question, self.input.folder, self.sampling)
                except VitaDemoError as error:
                    results.put(number, {**columns, **_answer_columns(error=error)})
                    continue
                asked[next(accepted)] = number, columns
                yield request

        with output:
            many = answers.stream_many(requests(), self.options, slots=self.slots, signal=signal, isolated=True)
            for index, event in many:
                if event.finish_reason is not None and not (signal.reason and event.finish_reason == signal.reason):
                    number, columns = asked.pop(index)
                    results.put(number, {**columns, **_answer_columns(event)})
        if signal.reason is None:
            output.finish(order)
        return progress

    def finish(self, output: Output) -> bool:
        """Finish an output that has all rows already, and tell whether it has; rows of stdin are not looked at.

        Raises:
            InputError: when the output has answers to something else.
        """
        if self.input.total is None or len(output.done) < self.input.total:
            return False
        order: dict[Key, int] = {}
        for place, row in enumerate(self.input.rows()):
            order[row.key] = place
            if row.key not in output.done:
                return False
            output.check(self._columns(row))
        output.finish(order)
        return True

    def _columns(self, row: Row) -> Result:
        """Return what an output row has beside the answer; a column with a name of the answer's gets another."""
        taken = {"row", *ANSWER_COLUMNS}
        columns = {f"input_{name}" if name in taken else name: value for name, value in row.values.items()}
        try:
            question = question_of(row, self.question)
        except InputError:
            question = None
        return {"row": row.key, **columns, "question": question}


class _InOrder:
    """Holds a row back until all before it are written."""

    def __init__(self, output: Output, progress: Progress, show: Callable[[Progress], None]) -> None:
        self._output, self._progress, self._show = output, progress, show
        self._held: dict[int, Result] = {}
        self._expected = self._next = 0

    def expect(self) -> int:
        """Return the number of the next row."""
        self._expected += 1
        return self._expected - 1

    def put(self, number: int, result: Result) -> None:
        """Take a row, and write all whose turn it is."""
        self._held[number] = result
        self._progress.add(result)
        while self._next in self._held:
            self._output.write(self._held.pop(self._next))
            self._next += 1
        self._show(self._progress)


def _answer_columns(event: Event | None = None, error: BaseException | None = None) -> Result:
    answer = None if event is None else event.answer
    error = error if event is None else event.error
    values: dict[str, Any] = dict.fromkeys(ANSWER_COLUMNS)
    if answer is not None:
        prompt, stats = answer.prompt, answer.stats
        values |= {
            "text": answer.text,
            "state": answer.state,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": prompt.tokens,
            "image_tokens": prompt.image_tokens,
            "audio_tokens": prompt.audio_tokens,
            "answer_tokens": len(answer.token_ids),
            "ttft_s": stats.ttft_s,
            "total_s": stats.total_s,
        }
    if error is not None:
        if not isinstance(error, VitaDemoError):
            logger.warning("a row failed: %s: %s", type(error).__name__, error)
        values["error"] = _FLAG.sub(r"\1", " ".join(str(error).split())) or type(error).__name__
    return values
