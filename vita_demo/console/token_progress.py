"""Counts tokens while they are generated."""

import sys
import time

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vita_demo.console.status_line import StatusLine

_LINE_EVERY_S = 5.0


class TokenProgress:
    """Shows how many tokens there are, on stderr; ``Console.token_progress`` makes it.

    Below an answer that streams to the same terminal it is a status line, on a terminal otherwise a bar, and
    elsewhere a line every five seconds.

    Args:
        rich: where to draw.
        live: whether a bar can be drawn there.
        status_line: the line below the answer; None where the answer does not stream to this terminal.
    """

    def __init__(self, rich: RichConsole, live: bool, status_line: StatusLine | None = None) -> None:
        self._rich = rich
        self._live = live
        self._status_line = status_line
        self._progress: Progress | None = None
        self._total = 0
        self._start_s = self._last_s = self._next_line_s = 0.0
        self._last_done = 0

    def start(self, total: int) -> None:
        """Begin to count up to ``total`` tokens."""
        self._total = total
        self._start_s = self._last_s = time.monotonic()
        self._next_line_s = self._start_s + _LINE_EVERY_S
        self._last_done = 0
        # A bar would be torn by an answer that streams to the same terminal.
        if self._live and self._status_line is None and not sys.stdout.isatty():
            columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._progress = Progress(*columns, console=self._rich, transient=True)
            self._progress.add_task("tokens", total=total)
            self._progress.start()

    def advance(self, done: int) -> None:
        """Show that there are ``done`` tokens."""
        now_s = time.monotonic()
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, description=self._rates(done, now_s))
        elif self._status_line is not None:
            self._status_line.show(self._line(done, now_s))
        elif not self._live and now_s >= self._next_line_s:
            self._next_line_s = now_s + _LINE_EVERY_S
            self._rich.print(self._line(done, now_s))

    def stop(self) -> None:
        """Erase the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _line(self, done: int, now_s: float) -> str:
        return f"{done:,} of at most {self._total:,} tokens · {self._rates(done, now_s)}"

    def _rates(self, done: int, now_s: float) -> str:
        """Format the tokens per second since the last call and since the start, prefill included."""
        current_tps = (done - self._last_done) / max(now_s - self._last_s, 1e-9)
        average_tps = done / max(now_s - self._start_s, 1e-9)
        self._last_s, self._last_done = now_s, done
        return f"{current_tps:,.0f}/s now, {average_tps:,.0f}/s on average"
