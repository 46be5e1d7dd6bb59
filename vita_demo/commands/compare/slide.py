"""A comparison as one picture for a slide, 16 : 9: tokens over time, and three metrics with their ranges.

Needs matplotlib, which the extra ``charts`` brings.
"""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from vita_demo.commands.compare.charts import time_unit
from vita_demo.commands.compare.metric import METRICS, Metric
from vita_demo.commands.compare.record import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_METRICS = ("ttft_s", "tpot_s", "total_s")
_INK, _SOFT, _RULE = "#1b2130", "#5b6475", "#dfe3ea"
_COLOURS = {
    "blocking": "#3b5bdb",
    "streaming": "#0b8a6a",
    "callbacks": "#d9480f",
    "iterator": "#9c36b5",
    "transformers": "#64707d",
}
_STYLE: Any = {
    "font.size": 13,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _RULE,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    # The same comparison gives the same file.
    "svg.hashsalt": "vita-demo",
}


def draw_slide(comparison: Comparison, kind: str) -> bytes:
    """Draw the slide as "png" (1920 × 1080 pixels) or "svg"."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(12.8, 7.2), facecolor="white")
        grid = figure.add_gridspec(
            3, 2, width_ratios=(1.35, 1), left=0.06, right=0.94, top=0.78, bottom=0.26, wspace=0.36, hspace=0.8
        )
        count = len(comparison.modes)
        title = f"One request, {count} {'way' if count == 1 else 'ways'} to generate"
        figure.text(0.06, 0.925, title, size=26, weight="bold")
        verdict = comparison.verdict if comparison.difference is None else "the answers differ"
        figure.text(0.06, 0.878, verdict, size=15, color="#0f7a4f" if comparison.difference is None else "#b3261e")
        _draw_tokens(figure.add_subplot(grid[:, 0]), comparison)
        chosen = [metric for metric in METRICS if metric.name in _METRICS]
        for row, metric in enumerate(chosen):
            _draw_metric(figure.add_subplot(grid[row, 1]), comparison, metric)
        lines = [line for line in (comparison.disturbance, *comparison.circumstances) if line]
        figure.text(0.06, 0.025, "\n".join(lines), size=10, color=_SOFT, va="bottom", linespacing=1.45)
        picture = BytesIO()
        # Without a date, for the same reason as the salt.
        figure.savefig(picture, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return picture.getvalue()


def _draw_tokens(axes: "Axes", comparison: Comparison) -> None:
    """Draw how many tokens were there at each time, in the run of each mode with the median total time."""
    unit, factor = time_unit(max(mode.typical_run.stats.total_s for mode in comparison.modes))
    for mode in comparison.modes:
        times = [time * factor for time in mode.typical_run.token_times_s]
        axes.plot(times, range(1, len(times) + 1), color=_COLOURS[mode.name], linewidth=2.4, label=mode.name)
    axes.set_title("Tokens over time", loc="left", size=13, weight="bold", pad=6)
    axes.set_xlabel(f"{unit} after the request")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True)
    axes.legend(frameon=False, loc="lower right")


def _draw_metric(axes: "Axes", comparison: Comparison, metric: Metric) -> None:
    """Draw the median of each mode as a dot, with a line from the least to the most."""
    for row, mode in enumerate(comparison.modes):
        spread = comparison.spread(mode, metric.name)
        if spread is None:
            continue
        low, middle, high = (value * metric.factor for value in (spread.minimum, spread.median, spread.maximum))
        axes.plot([low, high], [row, row], color=_COLOURS[mode.name], linewidth=6, alpha=0.3, solid_capstyle="round")
        axes.plot(middle, row, "o", color=_COLOURS[mode.name], markersize=8)
        written = metric.write(spread.median)
        axes.text(1.02, row, written, transform=axes.get_yaxis_transform(), va="center_baseline", size=11)
    axes.set_title(f"{metric.label}, {metric.unit}", loc="left", size=13, weight="bold", pad=6)
    axes.set_yticks(range(len(comparison.modes)), [mode.name for mode in comparison.modes])
    axes.set_ylim(len(comparison.modes) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.tick_params(labelsize=11)
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
