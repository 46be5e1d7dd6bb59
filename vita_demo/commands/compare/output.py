"""Writes a comparison to files; the suffix says which kind."""

import csv
import importlib.util
import json
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path

from vita_demo.commands.compare.metric import METRICS
from vita_demo.commands.compare.record import STAGES, Comparison, ModeResult
from vita_demo.errors import ComparisonError, InputError

_CHARTS = (".png", ".svg")


def check_output(path: Path) -> None:
    """Refuse a file that could not be written later.

    Raises:
        InputError: when the suffix is unknown, matplotlib is missing, or the file cannot be opened.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"--output {path}: its suffix says no known kind; give one of {', '.join(WRITERS)}")
    if path.suffix in _CHARTS and importlib.util.find_spec("matplotlib") is None:
        raise InputError(f"--output {path} needs matplotlib; run pip install 'vita-demo[charts]'")
    existed = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise InputError(f"--output {path} cannot be written ({error.strerror}); choose another path") from error
    if not existed:
        path.unlink()


def write(comparison: Comparison, path: Path) -> None:
    """Write ``comparison`` as the kind that the suffix of ``path`` says.

    Raises:
        ComparisonError: when the file cannot be written after all.
    """
    content = WRITERS[path.suffix](comparison)
    try:
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    except OSError as error:
        raise ComparisonError(f"{path} cannot be written ({error.strerror}); choose another --output") from error


def to_json(comparison: Comparison) -> str:
    """Write everything: all runs with ids, text, the time of every token, and the statistics."""
    return json.dumps(comparison.to_dict(), ensure_ascii=False, indent=1) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Write a row for each run."""
    text = StringIO()
    names = ["mode", "run", "tokens", *(metric.name for metric in METRICS), *(f"{stage}_s" for stage in STAGES)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for mode in comparison.modes:
        for number, run in enumerate(mode.runs, 1):
            metrics = {metric.name: getattr(run.stats, metric.name) for metric in METRICS}
            stages = {f"{stage}_s": seconds for stage, seconds in run.stages_s.items()}
            writer.writerow({"mode": mode.name, "run": number, "tokens": run.stats.tokens, **metrics, **stages})
    return text.getvalue()


def to_markdown(comparison: Comparison) -> str:
    """Write the table, what was asked, and where it ran."""
    lines = [
        "| mode | " + " | ".join(f"{metric.label}, {metric.unit}" for metric in METRICS) + " |",
        "|---" + "|---:" * len(METRICS) + "|",
        *(_markdown_row(comparison, mode) for mode in comparison.modes),
        "",
        f"Median, its ratio to {comparison.baseline.name}, and (least–most).",
        "",
        *(f"{text[0].upper()}{text[1:]}." for text in (comparison.verdict, comparison.disturbance) if text),
        "",
        *(f"- {line}" for line in comparison.circumstances),
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(comparison: Comparison, mode: ModeResult) -> str:
    cells = []
    for metric in METRICS:
        spread = comparison.spread(mode, metric.name)
        if spread is None:
            cells.append("–")
            continue
        ratio = "" if spread.ratio is None or mode is comparison.baseline else f" ×{spread.ratio:.2f}"
        cells.append(f"{metric.write(spread.median)}{ratio} ({metric.write_range(spread.minimum, spread.maximum)})")
    return f"| {mode.name} | " + " | ".join(cells) + " |"


def to_html(comparison: Comparison) -> str:
    """Write one page that needs nothing else."""
    from vita_demo.commands.compare.page import render_page

    return render_page(comparison)


def to_png(comparison: Comparison) -> bytes:
    """Draw the slide in pixels, 1920 × 1080."""
    from vita_demo.commands.compare.slide import draw_slide

    return draw_slide(comparison, "png")


def to_svg(comparison: Comparison) -> bytes:
    """Draw the slide in lines."""
    from vita_demo.commands.compare.slide import draw_slide

    return draw_slide(comparison, "svg")


WRITERS: Mapping[str, Callable[[Comparison], str | bytes]] = {
    ".json": to_json,
    ".csv": to_csv,
    ".md": to_markdown,
    ".html": to_html,
    ".png": to_png,
    ".svg": to_svg,
}
