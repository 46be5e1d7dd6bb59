"""The callbacks that ship.  Each watches one thing, costs microseconds per token, and writes nothing to stdout."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import IO, Any

from vita_demo.console import Console
from vita_demo.console.display import Display
from vita_demo.files.local import expand
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event
from vita_demo.metrics import RunRecorder, RunStats


def _say(logger: logging.Logger, level: int, text: str) -> None:
    """Log ``text``; print it to stderr where nobody has set logging up, so that the guide's programs are not mute."""
    if logger.hasHandlers():
        logger.log(level, text)
    else:
        sys.stderr.write(f"{text}\n")


def _count(ids: Any) -> int:
    """Return how many ids a tensor [n] or [1, n], or a list, holds: loops written by hand pass what they have."""
    return int(ids.shape[-1]) if hasattr(ids, "shape") else len(ids)


# json.dumps with this option would build an encoder for each token.
_to_json = json.JSONEncoder(ensure_ascii=False).encode


class LoggingCallback(GenerationCallback):
    """Logs start, every N tokens, errors and end through Python's `logging`, or to stderr where that is not set up.

    Args:
        tokenizer: unused; part of the signature that users of the original callbacks know.
        every: log the text once every N tokens.
        level: "debug", "info", "warning" or "error".
    """

    takes_lists = True

    def __init__(self, tokenizer: Any = None, every: int = 50, level: str = "info") -> None:
        self.tokenizer = tokenizer
        self.every = max(1, every)
        self.level = logging.getLevelNamesMapping()[level.upper()]
        self.logger = logging.getLogger("vita_demo.generation")
        self._texts: list[str] = []

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Log the length of the prompt."""
        self._texts.clear()
        positions = kwargs.get("prompt_positions", _count(input_ids))
        _say(self.logger, self.level, f"generation starts after a prompt of {positions} positions")

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Log the text of the last ``every`` tokens."""
        self._texts.append(token_text)
        if len(self._texts) == self.every:
            _say(self.logger, self.level, f"token {step + 1}: {''.join(self._texts)!r}")
            self._texts.clear()

    def on_generation_error(self, error: BaseException, **kwargs: Any) -> None:
        """Log the error."""
        _say(self.logger, logging.ERROR, f"generation failed: {error}")

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        """Log the number of tokens and the finish reason."""
        reason = kwargs.get("finish_reason", "stop")
        _say(self.logger, self.level, f"generation ends after {_count(output_ids)} tokens: {reason}")


class ProgressCallback(GenerationCallback):
    """Shows how many tokens there are: a bar on a terminal, a line every few seconds elsewhere.

    Args:
        max_tokens: length of the full bar; None takes that of the generation.
        display: where to show it; None is stderr.
        max_new_tokens: another name of ``max_tokens``.
    """

    takes_lists = True

    def __init__(
        self,
        max_tokens: int | None = None,
        display: Display | None = None,
        max_new_tokens: int | None = None,
    ) -> None:
        self.max_tokens = max_tokens if max_new_tokens is None else max_new_tokens
        self._display = display or Console().display()
        self._next_s = 0.0

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Begin the bar."""
        self._display.start(self.max_tokens or kwargs.get("max_new_tokens") or 0)
        self._next_s = 0.0

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Advance the bar, at most ten times a second."""
        event = kwargs.get("event")
        now_s = event.time_s if event is not None else time.perf_counter()
        if now_s >= self._next_s:
            self._next_s = now_s + 0.1
            self._display.advance(step + 1)

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        """Show the final count and erase the bar."""
        self._display.advance(_count(output_ids))
        self._display.stop()


class PerformanceCallback(GenerationCallback):
    """Measures time to first token, time per token, and rates, which a command's closing summary shows.

    Attributes:
        stats: the ``RunStats`` of the last generation; None until it ends.
    """

    takes_lists = True

    def __init__(self) -> None:
        self.stats: RunStats | None = None
        self._recorder = RunRecorder()
        self._positions = 0

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Start a clock, for callers that record no times themselves."""
        self.stats = None
        self._recorder = RunRecorder()
        self._recorder.begin_prefill()
        self._positions = kwargs.get("prompt_positions", _count(input_ids))

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Record the token's time."""
        event = kwargs.get("event")
        self._recorder.token(event.time_s if event is not None else time.perf_counter(), bool(token_text))

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        """Compute the rates and log them in one line."""
        self.stats = kwargs.get("stats") or self._recorder.finish(self._positions, time.perf_counter())
        _say(logging.getLogger("vita_demo.performance"), logging.INFO, self.stats.describe())


class MemoryCallback(GenerationCallback):
    """Samples memory: the process's resident set, and a GPU's allocated bytes.

    Args:
        every: take a sample once every N tokens.

    Attributes:
        samples: (step, host bytes, device bytes); device bytes are 0 without a GPU.
    """

    takes_lists = True

    def __init__(self, every: int = 100) -> None:
        self.every = max(1, every)
        self.samples: list[tuple[int, int, int]] = []

    @property
    def peak_bytes(self) -> tuple[int, int]:
        """Largest host and device bytes sampled; zeros before the first sample."""
        return max((host for _, host, _ in self.samples), default=0), max((gpu for *_, gpu in self.samples), default=0)

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Take a sample before the first token."""
        self.samples = []
        self._sample(0)

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Take a sample every N tokens."""
        if (step + 1) % self.every == 0:
            self._sample(step + 1)

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        """Take a last sample; log current and peak bytes."""
        self._sample(_count(output_ids))
        _, host, gpu = self.samples[-1]
        peak_host, peak_gpu = self.peak_bytes
        text = f"memory: host {host / 1e6:.0f} MB (peak {peak_host / 1e6:.0f} MB), "
        text += f"device {gpu / 1e6:.0f} MB (peak {peak_gpu / 1e6:.0f} MB)"
        _say(logging.getLogger("vita_demo.memory"), logging.INFO, text)

    def _sample(self, step: int) -> None:
        from vita_demo.engine.device import current_memory_bytes

        self.samples.append((step, *current_memory_bytes()))


class FileCallback(GenerationCallback):
    """Writes the answer to a file, token by token and unbuffered, so that a crash loses nothing.

    Args:
        path: the file; an existing one is replaced.
    """

    takes_lists = True

    def __init__(self, path: str = "answer.txt") -> None:
        self.path = expand(Path(path))
        self._file: IO[bytes] | None = None

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Open the file."""
        self._file = self.path.open("wb", buffering=0)

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Write the text."""
        if token_text:
            self._write(token_text)

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        """Write the text that went with no token, and close the file."""
        self._write(kwargs.get("rest", ""))
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, text: str) -> None:
        if self._file is not None:
            try:
                self._file.write(text.encode("utf-8", errors="replace"))
            except OSError:
                # On a full disk, for example: the callback is dropped, so its end hook cannot close the file.
                self._file.close()
                raise


class TraceCallback(FileCallback):
    """Writes a line of JSON for each token: step, id, text, time, log-probability and the likeliest alternatives.

    Args:
        path: the file; an existing one is replaced.
        top: how many alternatives to write.
    """

    def __init__(self, path: str = "trace.jsonl", top: int = 0) -> None:
        super().__init__(path)
        self.top_logprobs = top
        self._start_s = 0.0

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Open the file and start the clock."""
        super().on_generation_start(input_ids)
        self._start_s = time.perf_counter()

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Write the token's line."""
        event = kwargs.get("event") or Event(token_text, time.perf_counter(), step, token_id)
        record = {
            "step": step,
            "id": token_id,
            "text": token_text,
            "time_s": round(event.time_s - self._start_s, 6),
            "logprob": None if event.logprob is None else round(event.logprob, 6),
        }
        if self.top_logprobs:
            record["alternatives"] = [{"id": id_, "logprob": logprob} for id_, logprob in event.alternatives]
        self._write(_to_json(record) + "\n")

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        """Close the file: text that went with no token has no line."""
        self._close()
