"""Counts tokens while they are made."""

import sys
import time

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vita_demo.console.status_line import StatusLine

_LINE_EVERY_S = 5.0


class TokenProgress:
    """Shows how many tokens there are, on stderr.

    A line below the answer where it streams to the same terminal, a bar on a terminal otherwise, and a line every
    five seconds elsewhere.

    Args:
        status_line: follows the answer on the terminal; None where it does not stream there.
        live: False never draws what changes.
    """

    def __init__(self, status_line: StatusLine | None = None, live: bool = True) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._live = live and self._rich.is_terminal
        self._status_line = status_line
        self._progress: Progress | None = None
        self._total = 0
        self._start = self._last = time.monotonic()
        self._last_done = 0
        self._next_line = 0.0

    def start(self, total: int) -> None:
        """Begin to count up to ``total`` tokens."""
        self._total = total
        self._start = self._last = time.monotonic()
        self._last_done = 0
        self._next_line = self._start + _LINE_EVERY_S
        # An answer that streams to the same terminal would tear a bar.
        if self._live and self._status_line is None and not sys.stdout.isatty():
            columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._progress = Progress(*columns, console=self._rich, transient=True)
            self._progress.add_task("tokens", total=total)
            self._progress.start()

    def advance(self, done: int) -> None:
        """Show that ``done`` tokens are there."""
        now = time.monotonic()
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, description=self._rates(done, now))
        elif self._status_line is not None:
            self._status_line.show(f"{done:,} of at most {self._total:,} tokens · {self._rates(done, now)}")
        elif not self._live and now >= self._next_line:
            self._next_line = now + _LINE_EVERY_S
            self._rich.print(f"{done:,} of at most {self._total:,} tokens · {self._rates(done, now)}")

    def stop(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _rates(self, done: int, now: float) -> str:
        """Tokens per second since the last look and since the start, prefill counted in."""
        current = (done - self._last_done) / max(now - self._last, 1e-9)
        self._last, self._last_done = now, done
        return f"{current:,.0f}/s now, {done / max(now - self._start, 1e-9):,.0f}/s on average"
