"""Notes, errors, the stages of a run and its panel; everything goes to stderr."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from vita_demo.answer import Answer
from vita_demo.console.rich_consoles import stderr_console, stdout_console
from vita_demo.console.run_panel import render, summary_lines
from vita_demo.console.stage_display import StageDisplay
from vita_demo.console.status_line import StatusLine
from vita_demo.console.token_progress import TokenProgress


class Console:
    """Messages for a person, in plain lines where stderr is no terminal.

    Args:
        quiet: show only warnings and errors.
        verbose: show details too.

    Attributes:
        live: whether lines that change can be drawn.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self._rich = stderr_console()
        self._quiet = quiet
        self._verbose = verbose
        plain = self._rich.is_dumb_terminal or bool(os.environ.get("NO_COLOR"))
        self.live = self._rich.is_terminal and not plain and not quiet

    def note(self, text: str) -> None:
        """Show a message, unless quiet."""
        if not self._quiet:
            self._rich.print(text, style="dim")

    def detail(self, text: str) -> None:
        """Show a message if verbose."""
        if self._verbose:
            self.note(text)

    def warn(self, text: str) -> None:
        """Show a warning, also when quiet."""
        self._rich.print(Text.assemble(("note:", "yellow"), f" {text}"))

    def error(self, text: str) -> None:
        """Show in one line why the command failed."""
        self._rich.print(Text.assemble(("error:", "bold red"), f" {' '.join(text.split())}"))

    def stages(self) -> StageDisplay:
        """Return what shows the stages before the first token."""
        return StageDisplay(self._rich, self.live)

    def status_line(self) -> StatusLine | None:
        """Return a line below an answer that streams to the same terminal; None elsewhere."""
        return StatusLine(sys.stderr, self._rich.width) if self.live and sys.stdout.isatty() else None

    def token_progress(self, status_line: StatusLine | None = None) -> TokenProgress:
        """Return what counts the tokens of an answer, in ``status_line`` if there is one."""
        return TokenProgress(self._rich, self.live, status_line)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        """Show a bar over ``total`` runs; yields a function to call with the name of each run before it begins."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        # Drawn between runs only: a refresh thread would slow down the run that is measured.
        with Progress(
            *columns, console=self._rich, transient=True, auto_refresh=False, disable=not self.live
        ) as progress:
            task = progress.add_task(what, total=total, completed=-1)

            def advance(name: str) -> None:
                progress.update(task, advance=1, description=f"{what} {name:12}", refresh=True)

            yield advance

    def summary(self, answer: Answer) -> None:
        """Show the times and rates of a run."""
        if self._quiet:
            return
        if self.live:
            self.show(render(answer, self._rich.width))
            return
        for line in summary_lines(answer):
            self.note(line)

    def show(self, table: RenderableType) -> None:
        """Show a table or a panel, at most as wide as the terminal."""
        self._rich.print(table, soft_wrap=False)

    def handle_logs(self, level: int = logging.INFO) -> None:
        """Show the package's log records: warnings as such, others as notes.

        The performance callback's record is left out: it repeats the summary.
        """
        logger = logging.getLogger("vita_demo")
        logger.handlers = [_LogHandler(self)]
        logger.setLevel(level)
        logger.propagate = False
        logging.getLogger("vita_demo.performance").setLevel(logging.WARNING)


class _LogHandler(logging.Handler):
    """Shows log records on the console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        show = self._console.warn if record.levelno >= logging.WARNING else self._console.note
        show(record.getMessage())


def print_markdown(text: str) -> None:
    """Write the answer to stdout: rendered as Markdown on a terminal, unchanged elsewhere."""
    if sys.stdout.isatty():
        from rich.markdown import Markdown

        stdout_console().print(Markdown(text))
    else:
        sys.stdout.write(text + "\n")
