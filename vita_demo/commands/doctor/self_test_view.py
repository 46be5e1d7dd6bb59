"""Prints a self-test as a table, row by row, as each is measured."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.text import Text

from vita_demo.commands.doctor.view import show_line

if TYPE_CHECKING:
    from vita_demo.commands.doctor.self_test import PathResult, SelfTest

_SIGNS = {
    "agrees": ("✓", "green"),
    "differs": ("✗", "bold red"),
    "failed": ("✗", "bold red"),
    "left out": ("!", "yellow"),
}
_PATH_WIDTH = 19
_NOTHING = "–"

Cell = Callable[["PathResult"], str]


def _new_length(result: "PathResult") -> str:
    if result.first_prefill_s is None or result.prefill_s is None:
        return _NOTHING
    return f"{1e3 * (result.first_prefill_s - result.prefill_s):+.1f} ms"


_COLUMNS: Mapping[str, Cell] = {
    "differs by": lambda result: f"{result.difference:.1e}" if result.difference else "0",
    "ms a pass": lambda result: _NOTHING if result.pass_s is None else f"{1e3 * result.pass_s:.3f}",
    "of copying": lambda result: _NOTHING if result.bandwidth_fraction is None else f"{result.bandwidth_fraction:.0%}",
}
# On a CPU nothing is prepared for a new length of prompts, and no kernels are launched.
_GPU_COLUMNS: Mapping[str, Cell] = {
    "kernels": lambda result: _NOTHING if result.kernels is None else f"{result.kernels}",
    "new length": _new_length,
}


class SelfTestTable:
    """The table of a self-test.  Where the console is narrow, a path's name has a line of its own.

    Args:
        console: what to print on.
        gpu: show what is measured on GPUs only.
    """

    def __init__(self, console: RichConsole, gpu: bool) -> None:
        self._console = console
        self._columns = {**_COLUMNS, **_GPU_COLUMNS} if gpu else _COLUMNS
        widths = sum(2 + len(name) for name in self._columns)
        self._narrow = console.is_terminal and 2 + _PATH_WIDTH + widths > console.width

    def begin(self, test: "SelfTest") -> None:
        """Print what is tested, and the columns' names."""
        subject = test.subject.to_dict()
        name = test.host.get("gpu")
        where = f"{subject['device']} ({name})" if name else subject["device"]
        copies = f"which copies {test.copy_bytes_per_s / 1e9:,.1f} GB/s"
        title = f"Decoding with random weights: {subject['shape']}, {subject['dtype']} on {where}, {copies}"
        self._console.print(Text(title))
        self._console.print()
        self._print("path", "  ", "", {name: name for name in self._columns}, "bold")

    def show(self, result: "PathResult") -> None:
        """Print one path, and why it failed."""
        sign, style = _SIGNS[result.state]
        if result.difference is not None:
            self._print(result.path, f"{sign} ", style, {name: cell(result) for name, cell in self._columns.items()})
        else:
            show_line(sign, style, f"{result.path}: {result.state}", 0, self._console)
        reason = result.reason
        if result.state == "differs":
            reason = f"rounding explains no more than {result.tolerance:.0e}"
        if reason:
            show_line("→", "cyan", reason, 4, self._console)

    def end(self, test: "SelfTest") -> None:
        """Print the verdict."""
        self._console.print()
        wrong = [result.path for result in test.results if not result.is_fine]
        if wrong:
            names = f": {', '.join(wrong)}. --json prints what a report needs."
            text = Text.assemble(("These paths differ or fail", "bold red"), names)
        else:
            text = Text("All paths agree.", "bold green")
        self._console.print(text)

    def _print(self, path: str, sign: str, style: str, cells: dict[str, str], row_style: str = "") -> None:
        name = Text.assemble((sign, style), (f"{path:{_PATH_WIDTH}}", row_style))
        values = Text("".join(f"  {cell:>{len(heading)}}" for heading, cell in cells.items()), row_style)
        if self._narrow:
            self._console.print(name)
            self._console.print(values)
        else:
            self._console.print(Text.assemble(name, values))
