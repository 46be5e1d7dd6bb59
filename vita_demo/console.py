"""What a person reads beside the answer: everything here goes to stderr.  The only file that imports rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

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

    def summary(self, stats: RunStats, finish_reason: str, state: str | None) -> None:
        """Give the times of a run in one line."""
        parts = [
            state and f"query judged: {state}",
            stats.ttft_s is not None and f"first token {stats.ttft_s:.2f} s",
            stats.prefill_tps and f"prefill {stats.prompt_positions:,} positions at {stats.prefill_tps:,.0f}/s",
            stats.decode_tps and f"decode {stats.tokens:,} tokens at {stats.decode_tps:,.1f}/s",
            f"total {stats.total_s:.2f} s",
            f"finished by {finish_reason}",
        ]
        self.note(" · ".join(part for part in parts if part))
