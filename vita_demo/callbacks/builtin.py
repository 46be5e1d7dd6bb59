"""The callbacks that ship: each watches one thing, costs microseconds a token, and writes nothing to stdout."""

import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event
from vita_demo.metrics import RunRecorder, RunStats


class Decodes(Protocol):
    """What a callback needs of a tokenizer."""

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Turn ids into text."""


class LoggingCallback(GenerationCallback):
    """Logs start, every so many tokens, errors and end through Python's `logging`.

    Args:
        tokenizer: not needed; taken since the guide's callback takes it.
        every: log the text once in so many tokens.
        level: "debug", "info", "warning" or "error".
    """

    def __init__(self, tokenizer: Decodes | None = None, every: int = 50, level: str = "info") -> None:
        self.tokenizer = tokenizer
        self.every = max(1, every)
        self.level = logging.getLevelNamesMapping()[level.upper()]
        self.logger = logging.getLogger("vita_demo.generation")
        self._text: list[str] = []

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Log the length of the prompt."""
        self._text.clear()
        positions = kwargs.get("prompt_positions", len(input_ids))
        self.logger.log(self.level, "generation starts after a prompt of %d positions", positions)

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Log the text of the last ``every`` tokens."""
        self._text.append(token_text)
        if len(self._text) == self.every:
            self.logger.log(self.level, "token %d: %r", step + 1, "".join(self._text))
            self._text.clear()

    def on_generation_error(self, error: BaseException, **kwargs: Any) -> None:
        """Log the error."""
        self.logger.error("generation failed: %s", error)

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Log how it ended."""
        reason = kwargs.get("finish_reason", "stop")
        self.logger.log(self.level, "generation ends after %d tokens: %s", len(output_ids), reason)


class ProgressDisplay(Protocol):
    """Where progress is shown."""

    def start(self, total: int) -> None:
        """Begin."""

    def advance(self, done: int) -> None:
        """Show that ``done`` tokens are there."""

    def stop(self) -> None:
        """End."""


class ProgressCallback(GenerationCallback):
    """Shows how many tokens there are: a bar on a terminal, a line now and then elsewhere.

    Args:
        max_tokens: length of the full bar; None takes that of the generation.
        display: where to show it; None is stderr.
    """

    def __init__(self, max_tokens: int | None = None, display: ProgressDisplay | None = None) -> None:
        self.max_tokens = max_tokens
        self._display = display
        self._next = 0.0

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Begin the bar."""
        if self._display is None:
            from vita_demo.console.token_progress import TokenProgress

            self._display = TokenProgress()
        self._display.start(self.max_tokens or kwargs.get("max_new_tokens") or 0)
        self._next = 0.0

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Move the bar, at most ten times a second."""
        event = kwargs.get("event")
        now = event.time_s if event is not None else time.perf_counter()
        if now >= self._next and self._display is not None:
            self._next = now + 0.1
            self._display.advance(step + 1)

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Show the last count and take the bar away."""
        if self._display is not None:
            self._display.advance(len(output_ids))
            self._display.stop()


class PerformanceCallback(GenerationCallback):
    """Measures time to first token, time per token, and prefill and decode rates.

    Attributes:
        stats: the ``RunStats`` of the last generation; None before its end.
    """

    def __init__(self) -> None:
        self.stats: RunStats | None = None
        self._recorder = RunRecorder()
        self._positions = 0

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Start the clock, which counts where the caller keeps no record of its own."""
        self.stats = None
        self._recorder = RunRecorder()
        self._recorder.begin_prefill()
        self._positions = kwargs.get("prompt_positions", len(input_ids))

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Note the token's time."""
        event = kwargs.get("event")
        self._recorder.token(event.time_s if event is not None else time.perf_counter(), bool(token_text))

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Work out the rates and log them in one line."""
        self.stats = kwargs.get("stats") or self._recorder.finish(self._positions, time.perf_counter())
        logging.getLogger("vita_demo.performance").info("%s", self.stats.describe())


class MemoryCallback(GenerationCallback):
    """Watches memory: the process's resident set, and a GPU's allocated bytes.

    Args:
        every: look once in so many tokens.

    Attributes:
        samples: (step, host bytes, device bytes) at each look; device bytes are 0 without a GPU.
        peak_bytes: largest host and device bytes seen.
    """

    def __init__(self, every: int = 100) -> None:
        self.every = max(1, every)
        self.samples: list[tuple[int, int, int]] = []

    @property
    def peak_bytes(self) -> tuple[int, int]:
        """Largest host and device bytes seen; zeros before the first look."""
        return max((host for _, host, _ in self.samples), default=0), max((gpu for *_, gpu in self.samples), default=0)

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Look before the first token."""
        self.samples = []
        self._look(0)

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Look now and then."""
        if (step + 1) % self.every == 0:
            self._look(step + 1)

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Look once more and log current and peak bytes."""
        self._look(len(output_ids))
        _, host, gpu = self.samples[-1]
        values = (host / 1e6, self.peak_bytes[0] / 1e6, gpu / 1e6, self.peak_bytes[1] / 1e6)
        text = "memory: host %.0f MB (peak %.0f MB), device %.0f MB (peak %.0f MB)"
        logging.getLogger("vita_demo.memory").info(text, *values)

    def _look(self, step: int) -> None:
        from vita_demo.engine.device import current_memory_bytes

        self.samples.append((step, *current_memory_bytes()))


class FileCallback(GenerationCallback):
    """Writes the answer to a file, token by token, so that a crash loses nothing.

    Args:
        path: the file; an older one is replaced.
    """

    def __init__(self, path: str = "answer.txt") -> None:
        self.path = Path(path)
        self._file: IO[bytes] | None = None

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Open the file."""
        self._file = self.path.open("wb", buffering=0)

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Write the text at once: no buffer holds it back."""
        if token_text and self._file is not None:
            try:
                self._file.write(token_text.encode("utf-8", errors="replace"))
            except OSError:
                _give_up(self._file)
                raise

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class TraceCallback(GenerationCallback):
    """Writes a line of JSON for each token: step, id, text, time, log-probability and the likeliest alternatives.

    Args:
        path: the file; an older one is replaced.
        top: how many alternatives to write.
    """

    def __init__(self, path: str = "trace.jsonl", top: int = 0) -> None:
        self.path = Path(path)
        self.top_logprobs = top
        self._file: IO[str] | None = None
        self._start = 0.0
        self._events: list[Event] = []

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Open the file and start the clock."""
        self._file = self.path.open("w", encoding="utf-8")
        self._events = []
        self._start = time.perf_counter()

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Keep the token, and write what was kept once in a while: in one go that costs a third."""
        event = kwargs.get("event") or Event(token_text, time.perf_counter(), step, token_id)
        self._events.append(event)
        if len(self._events) == _TRACE_BLOCK:
            self._write()

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Write the rest and close the file."""
        self._write()
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        events, self._events = self._events, []
        if self._file is not None:
            try:
                self._file.writelines(map(self._line, events))
                self._file.flush()
            except OSError:
                _give_up(self._file)
                raise

    def _line(self, event: Event) -> str:
        # Put together by hand: that takes a quarter of the time of encoding a dict.
        logprob = "null" if event.logprob is None else f"{event.logprob:.6f}"
        line = (
            f'{{"step": {event.step}, "id": {event.token_id}, "text": {_encode(event.text)}, '
            f'"time_s": {event.time_s - self._start:.6f}, "logprob": {logprob}'
        )
        if self.top_logprobs:
            line += f', "alternatives": {_encode([{"id": id_, "logprob": lp} for id_, lp in event.alternatives])}'
        return line + "}\n"


_TRACE_BLOCK = 64
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _give_up(file: IO[Any]) -> None:
    """Close the file after a failed write, to a full disk say: the callback is dropped and gets no other chance."""
    with suppress(OSError):
        file.close()
