"""Notes, errors, progress and the summary; everything goes to stderr."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TransferSpeedColumn

from vita_demo.metrics import RunStats


class Console:
    """Notes, errors, a progress bar and the summary, in plain lines where stderr is no terminal."""

    def __init__(self) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something that is good to know."""
        self._rich.print(escape(text), style="dim")

    def warn(self, text: str) -> None:
        """Say something that should not be missed."""
        self._rich.print(f"[yellow]note:[/] {escape(text)}")

    def error(self, text: str) -> None:
        """Say in one line why nothing came of it."""
        self._rich.print(f"[bold red]error:[/] {escape(' '.join(text.split()))}")

    @contextmanager
    def loading(self) -> Iterator[Callable[[int, int], None]]:
        """Show a bar while the weights are read; yields what takes the bytes read so far and in all."""
        columns = (TextColumn("loading weights"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self._rich, transient=True, disable=not self._rich.is_terminal) as progress:
            task = progress.add_task("weights", total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        """Show a bar over ``total`` runs; yields what takes the name of each run before it begins."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        # Drawn between runs only: a thread that draws while a run is measured would slow it down.
        with Progress(
            *columns, console=self._rich, transient=True, auto_refresh=False, disable=not self._rich.is_terminal
        ) as progress:
            task = progress.add_task(what, total=total, completed=-1)

            def advance(name: str) -> None:
                progress.update(task, advance=1, description=f"{what} {name:12}", refresh=True)

            yield advance

    def summary(self, stats: RunStats | None, finish_reason: str, state: str | None) -> None:
        """Give the times of a run in one line; without ``stats`` only how it ended."""
        parts = (state and f"query judged: {state}", stats and stats.describe(), f"finished by {finish_reason}")
        self.note(" · ".join(part for part in parts if part))

    def handle_logs(self, level: int = logging.INFO) -> None:
        """Show the package's log records: warnings as such, others as notes."""
        logger = logging.getLogger("vita_demo")
        logger.handlers = [_LogHandler(self)]
        logger.setLevel(level)
        logger.propagate = False


class _LogHandler(logging.Handler):
    """Hands records to the console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        show = self._console.warn if record.levelno >= logging.WARNING else self._console.note
        show(record.getMessage())
