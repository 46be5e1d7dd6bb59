"""Shows a comparison as a table on stdout, with as many columns as there is room for."""

import os
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vita_demo.commands.compare.metric import METRICS, Metric
from vita_demo.commands.compare.record import Comparison, ModeResult

_FEWER = ("ttft_s", "tpot_s", "decode_tps", "total_s", "peak_memory_bytes")
_FEWEST = ("ttft_s", "tpot_s", "total_s")
_PLAIN_WIDTH = 120
_UNLIMITED = 10_000


def print_comparison(comparison: Comparison) -> None:
    """Print the table, whether all answers agree, and where they ran; without colours where stdout is no terminal."""
    # A file or a pipe has no width of its own; rich would take 80 columns.
    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    rich = RichConsole(highlight=False, width=_PLAIN_WIDTH if free else None)
    rich.print(_widest_table(comparison, rich), "")
    mark = "[bold green]✓[/]" if comparison.difference is None else "[bold red]✗[/]"
    rich.print(f"{mark} {escape(comparison.verdict)}")
    if comparison.disturbance:
        rich.print(f"[yellow]note:[/] {escape(comparison.disturbance)}")
    legend = f"median, ×ratio to {comparison.baseline.name}; below: least–most"
    for line in (legend, *comparison.circumstances):
        rich.print(escape(line), style="dim")


def _widest_table(comparison: Comparison, rich: RichConsole) -> Table:
    """Return the table with the most columns that the width holds without breaking a line."""
    unlimited = rich.options.update(width=_UNLIMITED)
    for names in (tuple(metric.name for metric in METRICS), _FEWER):
        table = _table(comparison, [metric for metric in METRICS if metric.name in names])
        if rich.measure(table, options=unlimited).maximum <= rich.width:
            return table
    return _table(comparison, [metric for metric in METRICS if metric.name in _FEWEST])


def _table(comparison: Comparison, metrics: Sequence[Metric]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("mode", no_wrap=True)
    for metric in metrics:
        table.add_column(f"{metric.label}\n{metric.unit}", justify="right", no_wrap=True)
    for mode in comparison.modes:
        table.add_row(mode.name, *(_cell(comparison, mode, metric) for metric in metrics))
    return table


def _cell(comparison: Comparison, mode: ModeResult, metric: Metric) -> Text:
    spread = comparison.spread(mode, metric.name)
    if spread is None:
        return Text("–", style="dim")
    ratio = "" if spread.ratio is None or mode is comparison.baseline else f" ×{spread.ratio:.2f}"
    span = metric.write_range(spread.minimum, spread.maximum)
    return Text.assemble((metric.write(spread.median), "bold"), ratio, "\n", (span, "dim"))
