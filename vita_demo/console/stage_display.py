"""One line on a terminal that says what happens before the first token."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console as RichConsole
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

_BAR_WIDTH = 24


class StageDisplay:
    """A spinner with the current stage; it vanishes when the answer begins.

    Args:
        rich: where to draw.
        live: False draws nothing.
    """

    def __init__(self, rich: RichConsole, live: bool) -> None:
        self._spinner = Spinner("dots", Text("starting"))
        self._live = Live(self._spinner, console=rich, transient=True, refresh_per_second=12) if live else None
        self._load_start: float | None = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def show(self, stage: str) -> None:
        """Name the current stage."""
        self._spinner.update(text=Text(stage))

    def loading(self, done: int, total: int) -> None:
        """Show how many bytes of the weights are read, and how fast."""
        self._load_start = self._load_start or time.monotonic()
        seconds = time.monotonic() - self._load_start
        filled = round(_BAR_WIDTH * done / total) if total else 0
        rate = f"  {done / seconds / 1e9:.1f} GB/s" if seconds > 0.2 else ""
        line = Text("weights  ")
        line.append("━" * filled, style="green").append("━" * (_BAR_WIDTH - filled), style="dim")
        line.append(f"  {done / 1e9:.2f} of {total / 1e9:.2f} GB{rate}")
        self._spinner.update(text=line)

    def stop(self) -> None:
        """Take the line away; doing so again is harmless."""
        if self._live is not None:
            self._live.stop()
            self._live = None
