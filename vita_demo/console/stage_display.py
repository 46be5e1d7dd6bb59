"""One line on a terminal that shows what happens before the first token."""

from typing import Self

from rich.console import Console as RichConsole
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.spinner import Spinner
from rich.text import Text


class StageDisplay:
    """A spinner with the current stage, and a bar while the weights are read; it vanishes when the answer begins.

    Args:
        rich: where to draw.
        live: False draws nothing.
    """

    def __init__(self, rich: RichConsole, live: bool) -> None:
        self._spinner = Spinner("dots", Text("starting"))
        self._weights = Progress(
            TextColumn("weights"), BarColumn(24), DownloadColumn(), TransferSpeedColumn(), console=rich
        )
        self._live = Live(self._spinner, console=rich, transient=True, refresh_per_second=12) if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def show(self, stage: str) -> None:
        """Name the current stage."""
        self._spinner.update(text=Text(stage))

    def loading(self, done: int, total: int) -> None:
        """Show how many bytes of the weights are read, and how fast."""
        if not self._weights.task_ids:
            self._weights.add_task("weights", total=total)
        self._weights.update(self._weights.task_ids[0], completed=done)
        self._spinner.update(text=self._weights)

    def stop(self) -> None:
        """Erase the line; a second call does nothing."""
        if self._live is not None:
            self._live.stop()
            self._live = None
