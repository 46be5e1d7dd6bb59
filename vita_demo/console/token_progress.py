"""Counts tokens while they are made."""

import sys
import time

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_LINE_EVERY_S = 5.0


class TokenProgress:
    """Counts tokens on stderr: a bar on a terminal, a line every five seconds elsewhere."""

    def __init__(self) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._total = 0
        self._next_line = 0.0

    def start(self, total: int) -> None:
        """Begin a bar of ``total`` tokens."""
        self._total = total
        self._next_line = time.monotonic() + _LINE_EVERY_S
        # An answer that streams to the same terminal would tear the bar.
        if self._rich.is_terminal and not sys.stdout.isatty():
            columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TextColumn("tokens"))
            self._progress = Progress(*columns, console=self._rich, transient=True)
            self._progress.add_task("tokens", total=total)
            self._progress.start()

    def advance(self, done: int) -> None:
        """Show that ``done`` tokens are there."""
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done)
        elif not self._rich.is_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY_S
            self._rich.print(f"{done:,} of at most {self._total:,} tokens")

    def stop(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
