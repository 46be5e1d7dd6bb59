"""Prints the findings of a diagnosis as a report."""

from dataclasses import replace
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vita_demo.commands.doctor.diagnosis import Diagnosis
from vita_demo.commands.doctor.finding import MEMORY, Finding, gigabytes
from vita_demo.console.rich_consoles import stdout_console

if TYPE_CHECKING:
    from vita_demo.commands.doctor.memory import MemoryTable

_SIGNS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "problem": ("✗", "bold red")}
_LABEL_COLUMNS, _NEED_COLUMNS = 20, 12
_SHOWN_PROBLEMS = 8


def show_diagnosis(diagnosis: Diagnosis, console: RichConsole | None = None) -> None:
    """Print each group, one line for each finding, and the verdict; lines are wrapped on a terminal only."""
    console = console or stdout_console()
    for group, findings in groupby(diagnosis.findings, key=lambda finding: finding.group):
        console.print(Text(group, style="bold"))
        members = list(findings)
        problems = [finding for finding in members if finding.level == "problem"]
        hidden = problems[_SHOWN_PROBLEMS:]
        _show_group([finding for finding in members if finding not in hidden], console)
        if hidden:
            console.print(f"    and {len(hidden):,} more problems; --json lists them all")
        if group == MEMORY and diagnosis.memory is not None:
            _show_memory(diagnosis.memory, console)
        console.print()
    console.print(_verdict(diagnosis))


def _show_group(findings: list[Finding], console: RichConsole) -> None:
    """Print findings; a fix that several in a row share is printed once, after the last."""
    for fix, members in groupby(findings, key=lambda finding: finding.fix):
        for finding in members:
            sign, style = _SIGNS[finding.level]
            show_line(sign, style, finding.text, 2, console)
        if fix:
            show_line("→", "cyan", fix, 4, console)


def show_line(sign: str, style: str, text: str, indent: int, console: RichConsole) -> None:
    """Print a line after its sign; on a terminal it is wrapped and its further lines are indented."""
    lines = [text]
    if console.is_terminal:
        lines = wrap(text, console.width - indent - 2, break_on_hyphens=False, break_long_words=False)
    for number, line in enumerate(lines):
        console.print(Text.assemble(" " * indent, (" " if number else sign, style), " ", line))


def _show_memory(memory: "MemoryTable", console: RichConsole) -> None:
    """Print the table, or several below one another, each with as many columns as fit beside the labels."""
    count = max(1, (console.width - _LABEL_COLUMNS) // _NEED_COLUMNS)
    for start in range(0, len(memory.needs), count):
        console.print(_memory_table(replace(memory, needs=memory.needs[start : start + count])))


def _memory_table(memory: "MemoryTable") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for need in memory.needs:
        table.add_column(need.name, justify="right", no_wrap=True)

    def add_row(label: str, *cells: str | Text) -> None:
        # Further lines of a label are indented too.
        table.add_row(Padding(label, (0, 0, 0, 2)), *cells)

    add_row("weights", *(gigabytes(need.weights_bytes) for need in memory.needs))
    add_row("KV cache of 1,000 positions", *(gigabytes(need.cache_bytes_per_1000) for need in memory.needs))
    working = f"prefill of {memory.positions:,} positions, about"
    add_row(working, *(gigabytes(need.working_bytes) for need in memory.needs))
    add_row(f"total for {memory.positions:,} positions", *(gigabytes(need.total_bytes) for need in memory.needs))
    table.add_section()
    for device in memory.devices:
        label = f"{device.name}, {gigabytes(device.free_bytes)} free"
        short = [need.total_bytes - device.free_bytes for need in memory.needs]
        fits = [Text(f"{gigabytes(size)} short", "red") if size > 0 else Text("fits", "green") for size in short]
        add_row(label, *fits)
    return table


def _verdict(diagnosis: Diagnosis) -> Text:
    counts = {level: sum(finding.level == level for finding in diagnosis.findings) for level in _SIGNS}
    counted = ", ".join(f"{count} {level}{'s' * (count != 1 and level != 'ok')}" for level, count in counts.items())
    can, cannot = ("The model can run here", "bold green"), ("The model cannot run as it is", "bold red")
    return Text.assemble(can if diagnosis.can_run else cannot, f" ({counted}).")
