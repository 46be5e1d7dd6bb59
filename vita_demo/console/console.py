"""What is said to a person, on stderr: notes, errors, how a run goes and what it took."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import RenderableType
from rich.text import Text

from vita_demo.answer import Answer
from vita_demo.console.display import Display, bar
from vita_demo.console.rich_consoles import stderr_console, stdout_console
from vita_demo.console.run_panel import render, summary_lines
from vita_demo.console.terminal import Place, place_of


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
        self._display = self.display()

    @property
    def width(self) -> int:
        """Columns of the terminal now."""
        return self._rich.width

    def note(self, text: str) -> None:
        """Show a message, unless quiet."""
        if not self._quiet:
            self.show(Text(text, "dim"))

    def detail(self, text: str) -> None:
        """Show a message if verbose."""
        if self._verbose:
            self.note(text)

    def warn(self, text: str) -> None:
        """Show a warning, also when quiet."""
        self.show(Text.assemble(("note:", "yellow"), f" {text}"))

    def error(self, text: str) -> None:
        """Show in one line why the command failed."""
        self.show(Text.assemble(("error:", "bold red"), f" {' '.join(text.split())}"))

    def show(self, content: RenderableType) -> None:
        """Show a text, a table or a panel; a terminal's lines are wrapped between words."""
        whole_lines = isinstance(content, Text) and not self._rich.is_terminal
        self._display.aside(lambda: self._rich.print(content, soft_wrap=whole_lines))

    def display(self, streams: bool = False) -> Display:
        """Return what shows how a run goes, and writes its answer.

        Args:
            streams: whether the answer is written while it is made.
        """
        place = place_of(sys.stdout, sys.stderr) if streams else Place.ELSEWHERE
        self._display = Display(sys.stderr, place, self.live, self.note)
        return self._display

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        """Show a bar over ``total`` runs; yields a function to call with the name of each run before it begins."""
        with self.display() as display:
            done = count()
            # Drawn between runs only: a thread that draws would slow down the run that is measured.
            yield lambda name: display.show(f"{what} {name:12} {bar(number := next(done), total)} {number}/{total}")

    def summary(self, answer: Answer) -> None:
        """Show the times and rates of a run."""
        if self._quiet:
            return
        if self.live:
            self.show(render(answer, self.width))
            return
        for line in summary_lines(answer):
            self.note(line)

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
