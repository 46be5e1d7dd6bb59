"""Prints a comparison as a table, with as many columns as fit."""

from collections.abc import Sequence

from rich import box
from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from vita_demo.commands.compare.record import METRICS, Comparison, Metric
from vita_demo.console.rich_consoles import stdout_console

_FEWER = ("ttft_s", "tpot_s", "decode_tps", "total_s", "peak_memory_bytes")
_FEWEST = ("ttft_s", "tpot_s", "total_s")
_UNLIMITED = 10_000


def print_comparison(comparison: Comparison, console: RichConsole | None = None) -> None:
    """Print the table, whether all answers are equal, and the conditions."""
    console = console or stdout_console()
    console.print(_widest_table(comparison, console), "")
    mark = ("✓", "bold green") if comparison.difference is None else ("✗", "bold red")
    console.print(Text.assemble(mark, f" {comparison.verdict}"))
    if comparison.warning:
        console.print(Text.assemble(("note:", "yellow"), f" {comparison.warning}"))
    single = comparison.runs_per_mode == 1
    legend = f"{'' if single else 'median, '}×ratio to {comparison.baseline.name}"
    legend += "" if single else "; below: minimum–maximum"
    for line in (legend, *comparison.conditions):
        console.print(line, style="dim")


def _widest_table(comparison: Comparison, console: RichConsole) -> Table:
    """Return the table with the most columns that fits the console's width."""
    unlimited = console.options.update(width=_UNLIMITED)
    for names in (tuple(metric.name for metric in METRICS), _FEWER, _FEWEST):
        table = _table(comparison, [metric for metric in METRICS if metric.name in names])
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    return table


def _table(comparison: Comparison, metrics: Sequence[Metric]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("mode", no_wrap=True)
    for metric in metrics:
        table.add_column(f"{metric.label}\n{metric.unit}", justify="right", no_wrap=True)
    for mode in comparison.modes:
        cells = (comparison.cell(mode, metric) for metric in metrics)
        texts = (
            Text.assemble((median, "bold"), f" {ratio}".rstrip(), span and "\n", (span, "dim"))
            for median, ratio, span in cells
        )
        table.add_row(mode.name, *texts)
    return table
