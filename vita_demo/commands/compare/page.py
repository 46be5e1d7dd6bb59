"""A comparison as one page that needs nothing else: no network, no script, no other file."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vita_demo.commands.compare.charts import draw_gaps, draw_stages, draw_tokens
from vita_demo.commands.compare.metric import METRICS, Metric
from vita_demo.commands.compare.record import STAGES, Comparison, ModeResult

_TILES = ("ttft_s", "tpot_s", "decode_tps", "total_s")


def render_page(comparison: Comparison) -> str:
    """Fill in ``page.html``."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stages_s = [mode.stages_s for mode in comparison.modes]
    return environment.get_template("page.html").render(
        comparison=comparison,
        asked=_asked(comparison),
        metrics=METRICS,
        tiles=[_tile(comparison, metric) for metric in METRICS if metric.name in _TILES],
        rows=[(mode.name, [_cell(comparison, mode, metric) for metric in METRICS]) for mode in comparison.modes],
        stages=[stage for stage in STAGES if any(stages[stage] > 0 for stages in stages_s)],
        tokens_chart=Markup(draw_tokens(comparison)),  # noqa: S704 - built as a tree, which escapes
        gaps_chart=Markup(draw_gaps(comparison)),  # noqa: S704
        stages_chart=Markup(draw_stages(comparison)),  # noqa: S704
    )


def _asked(comparison: Comparison) -> list[tuple[str, str]]:
    """Return what was asked, by name, without what was left at nothing."""
    request = comparison.request
    files = [*request["image_paths"], request["video_path"], request["audio_path"]]
    names = " · ".join(Path(file).name for file in files if file)
    return [(name, text) for name, text in (("question", request["question"]), ("media", names)) if text]


def _tile(comparison: Comparison, metric: Metric) -> dict[str, str]:
    """Return the baseline's median, and how far the other modes are from it."""
    spreads = [spread for mode in comparison.modes if (spread := comparison.spread(mode, metric.name))]
    own = comparison.spread(comparison.baseline, metric.name)
    ratios = [spread.ratio for spread in spreads if spread.ratio is not None]
    ends = [f"{ratio:.2f}" for ratio in (min(ratios), max(ratios))] if ratios else []
    return {
        "label": metric.label,
        "value": metric.write(None if own is None else own.median),
        "unit": metric.unit,
        "ratios": "×" + "–".join(dict.fromkeys(ends)) + " over all modes" if ends else "",
    }


def _cell(comparison: Comparison, mode: ModeResult, metric: Metric) -> dict[str, str]:
    spread = comparison.spread(mode, metric.name)
    if spread is None:
        return {"median": "–", "ratio": "", "span": ""}
    ratio = "" if spread.ratio is None or mode is comparison.baseline else f"×{spread.ratio:.2f}"
    span = metric.write_range(spread.minimum, spread.maximum)
    return {"median": metric.write(spread.median), "ratio": ratio, "span": span}
