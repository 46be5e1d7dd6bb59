"""The charts of a comparison's page: tokens over time, gaps between tokens, and where the time went."""

from collections.abc import Sequence
from statistics import median, quantiles

from vita_demo.commands.compare.record import Comparison
from vita_demo.commands.compare.svg import Drawing, Scale

_WIDTH = 440
_RIGHT = 426
_BINS = 48
_MOST_POINTS = 200


def time_unit(longest_s: float) -> tuple[str, float]:
    """Return the unit that suits times up to ``longest_s``, and the factor from seconds to it."""
    return ("s", 1.0) if longest_s >= 2 else ("ms", 1e3)


def draw_tokens(comparison: Comparison) -> str:
    """Draw how many tokens were there at each time, in the run of each mode with the median total time."""
    runs = {mode.name: mode.typical_run for mode in comparison.modes}
    longest, most = max(run.stats.total_s for run in runs.values()), max(run.stats.tokens for run in runs.values())
    unit, factor = time_unit(longest)
    x, y = Scale(0, longest * factor, 40, _RIGHT), Scale(0, max(1, most) * 1.05, 250, 26)
    drawing = Drawing(_WIDTH, 290, "Tokens of the answer over time, a line for each mode")
    for value in y.ticks(4):
        drawing.line("grid", x.start, y(value), x.end, y(value))
        drawing.text(x.start - 6, y(value) + 4, f"{value:g}", "tick", "end")
    drawing.bottom_axis(x, y.end, y.start, f"{unit} after the request")
    for name, run in runs.items():
        points = _thinned([(x(time * factor), y(number)) for number, time in enumerate(run.token_times_s, 1)])
        drawing.add("polyline", f"line {name}", points=" ".join(f"{left},{top}" for left, top in points))
    if "blocking" in runs:
        end = x(runs["blocking"].stats.total_s * factor)
        drawing.line("dashed blocking", end, y.end, end, y.start)
        drawing.text(end - 6, y.end - 10, "blocking shows its text here", "note blocking", "end")
    return drawing.to_string()


def draw_gaps(comparison: Comparison) -> str:
    """Draw a histogram of the gaps between tokens for each mode, over all of its runs; empty when there are none."""
    gaps_s = {mode.name: mode.token_gaps_s for mode in comparison.modes}
    pooled = sorted(gap for gaps in gaps_s.values() for gap in gaps)
    if len(pooled) < 2:
        return ""
    low, high = pooled[0], max(quantiles(pooled, n=50)[-1], pooled[0] * 1.01 + 1e-9)
    scale = Scale(low * 1e3, high * 1e3, 14, _RIGHT)
    row, bottom = 50, 50 * len(gaps_s) + 8
    drawing = Drawing(_WIDTH, bottom + 40, "Histogram of the time between tokens for each mode")
    drawing.bottom_axis(scale, 6, bottom, "ms between tokens; longer gaps are in the last bar")
    for index, (name, gaps) in enumerate(gaps_s.items()):
        floor = (index + 1) * row + 4
        counts = _histogram([gap * 1e3 for gap in gaps], scale)
        width = (scale.end - scale.start) / _BINS
        for number, count in enumerate(counts):
            left = scale.start + number * width
            if count:
                drawing.bar(f"bar {name}", left, floor - count / max(counts) * (row - 20), left + width - 0.8, floor)
        drawing.line("base", scale.start, floor, scale.end, floor)
        if gaps:
            words = f"{name} · median {median(gaps) * 1e3:.2f} ms"
            drawing.text(scale.end, floor - row + 15, words, f"note {name}", "end")
    return drawing.to_string()


def draw_stages(comparison: Comparison) -> str:
    """Draw the median time of each stage, one after the other, a bar for each mode."""
    longest = max(sum(mode.stages_s.values()) for mode in comparison.modes)
    unit, factor = time_unit(longest)
    # The total is written to the right of its bar.
    scale = Scale(0, longest * factor, 108, _RIGHT - 62)
    row, bottom = 40, 40 * len(comparison.modes) + 8
    drawing = Drawing(_WIDTH, bottom + 40, "Where the time went: the stages of each mode")
    drawing.bottom_axis(scale, 6, bottom, f"{unit}, median of each stage")
    for index, mode in enumerate(comparison.modes):
        top, left = index * row + 14, 0.0
        drawing.text(scale.start - 8, top + 16, mode.name, "label", "end")
        for stage, seconds in mode.stages_s.items():
            right = left + seconds * factor
            drawing.bar(f"stage {stage}", scale(left), top, scale(right), top + 24)
            left = right
        total = median(mode.values("total_s")) * factor
        drawing.text(scale(left) + 6, top + 16, f"{total:,.0f} ms" if unit == "ms" else f"{total:.2f} s")
    return drawing.to_string()


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out points so that a long answer does not make a large page; the last one stays."""
    every = -(-len(points) // _MOST_POINTS) or 1
    return [*points[:-1:every], *points[-1:]]


def _histogram(values: Sequence[float], scale: Scale) -> list[int]:
    counts = [0] * _BINS
    for value in values:
        share = (value - scale.low) / (scale.high - scale.low)
        counts[min(_BINS - 1, max(0, int(share * _BINS)))] += 1
    return counts
