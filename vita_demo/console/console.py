"""Notes, errors, progress and the summary; everything goes to stderr."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from vita_demo.metrics import RunStats
from vita_demo.turn import Turn


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

    def summary(self, stats: RunStats | None, finish_reason: str, state: str | None) -> None:
        """Give the times of a run in one line; without ``stats`` only how it ended."""
        parts = (state and f"query judged: {state}", stats and stats.describe(), f"finished by {finish_reason}")
        self.note(" · ".join(part for part in parts if part))

    def turn(self, turn: Turn) -> None:
        """Give what a turn of a conversation cost in one line."""
        stats = turn.stats
        parts = (
            turn.state and f"query judged: {turn.state}",
            stats and f"positions: {stats.prompt_positions:,} computed, {turn.reused_positions:,} reused",
            stats and stats.ttft_s is not None and f"first token {stats.ttft_s:.2f} s",
            stats and stats.decode_tps and f"decode {stats.decode_tps:,.1f} tokens/s",
            f"finished by {turn.finish_reason}",
        )
        self.note(" · ".join(part for part in parts if part))

    def turns(self, turns: Sequence[Turn]) -> None:
        """Show the turns of a conversation and what each cost."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("turn", justify="right")
        table.add_column("question", no_wrap=True, overflow="ellipsis", max_width=20)
        for name in ("reused", "computed", "first token", "decode tokens/s"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("finished by", no_wrap=True)
        for number, turn in enumerate(turns, 1):
            question = escape(" ".join(turn.request.question.split())) or "(spoken)"
            table.add_row(str(number), question, *_costs(turn), turn.finish_reason)
        self._rich.print(table, soft_wrap=False)

    def handle_logs(self, level: int = logging.INFO) -> None:
        """Show the package's log records: warnings as such, others as notes."""
        logger = logging.getLogger("vita_demo")
        logger.handlers = [_LogHandler(self)]
        logger.setLevel(level)
        logger.propagate = False


def _costs(turn: Turn) -> tuple[str, str, str, str]:
    """Positions reused and computed, first token, decode tokens/s; dashes for what was not measured here."""
    stats = turn.stats
    if stats is None:
        return "–", "–", "–", "–"
    first = "–" if stats.ttft_s is None else f"{stats.ttft_s:.2f} s"
    rate = "–" if stats.decode_tps is None else f"{stats.decode_tps:,.1f}"
    return f"{turn.reused_positions:,}", f"{stats.prompt_positions:,}", first, rate


class _LogHandler(logging.Handler):
    """Hands records to the console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        show = self._console.warn if record.levelno >= logging.WARNING else self._console.note
        show(record.getMessage())
