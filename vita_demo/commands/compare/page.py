"""A comparison as one HTML page that needs no network, no script and no other file; a browser prints it to PDF."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vita_demo.commands.compare.record import METRICS, STAGES, Comparison, token_times_s
from vita_demo.commands.ticks import ticks

_MAX_POINTS = 200


@dataclass(frozen=True)
class Axis:
    """Maps values 0 … ``high`` to positions ``start`` … ``end`` in an SVG."""

    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value, rounded to what is visible."""
        return round(self.start + value / self.high * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """At most six round values."""
        return ticks(0, self.high, 5)


def render_page(comparison: Comparison) -> str:
    """Fill in ``page.html``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    runs = {mode.name: mode.typical_run for mode in comparison.modes}
    x = Axis(max(run.stats.total_s for run in runs.values()), 40, 426)
    y = Axis(1.05 * max(1, *(run.stats.tokens for run in runs.values())), 250, 26)
    stages_s = [mode.stages_s for mode in comparison.modes]
    request = comparison.request
    files = (*request["image_paths"], request["video_path"], request["audio_path"])
    return environment.get_template("page.html").render(
        comparison=comparison,
        metrics=METRICS,
        cells=lambda mode: [comparison.cell(mode, metric) for metric in METRICS],
        files=[Path(file).name for file in files if file],
        x=x,
        y=y,
        lines={name: _polyline(token_times_s(run.stats), x, y) for name, run in runs.items()},
        blocking_end=x(runs["blocking"].stats.total_s) if "blocking" in runs else None,
        stages=[stage for stage in STAGES if any(stages[stage] > 0 for stages in stages_s)],
        longest_s=max(sum(stages.values()) for stages in stages_s),
    )


def _polyline(times_s: Sequence[float], x: Axis, y: Axis) -> str:
    """Return the points of tokens over time, thinned so that a long answer does not make a large page."""
    points = [f"{x(time_s)},{y(number)}" for number, time_s in enumerate(times_s, 1)]
    step = len(points) // _MAX_POINTS + 1
    return " ".join([*points[:-1:step], *points[-1:]])
