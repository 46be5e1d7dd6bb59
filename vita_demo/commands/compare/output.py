"""Writes a comparison to files in the format that the suffix names."""

import csv
import json
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path

from vita_demo.commands.compare.page import render_page
from vita_demo.commands.compare.record import METRICS, STAGES, Comparison, ModeResult, stages_s
from vita_demo.errors import ComparisonError, InputError


def check_output(path: Path) -> None:
    """Refuse a file that could not be written after the runs.

    Raises:
        InputError: when the suffix is unknown or the file cannot be opened.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"--output {path} has a suffix that names no format; give one of {', '.join(WRITERS)}")
    existed = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise InputError(f"--output {path} cannot be written ({error.strerror}); choose another path") from error
    if not existed:
        path.unlink()


def write(comparison: Comparison, path: Path) -> None:
    """Write ``comparison`` in the format of the suffix of ``path``.

    Raises:
        ComparisonError: when the file cannot be written after all.
    """
    content = WRITERS[path.suffix](comparison)
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ComparisonError(f"{path} cannot be written ({error.strerror}); choose another --output") from error


def to_json(comparison: Comparison) -> str:
    """Write everything: each run with its ids, text and token times, and the statistics."""
    return json.dumps(comparison.to_dict(), ensure_ascii=False, indent=1) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Write a row for each run."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metrics = [metric.name for metric in METRICS]
    writer.writerow(["mode", "run", "tokens", *metrics, *(f"{stage}_s" for stage in STAGES)])
    for mode in comparison.modes:
        for number, run in enumerate(mode.runs, 1):
            values = (getattr(run.stats, name) for name in metrics)
            writer.writerow([mode.name, number, run.stats.tokens, *values, *stages_s(run.stats).values()])
    return text.getvalue()


def to_markdown(comparison: Comparison) -> str:
    """Write the table, the verdict and the conditions."""
    lines = [
        "| mode | " + " | ".join(f"{metric.label}, {metric.unit}" for metric in METRICS) + " |",
        "|---" + "|---:" * len(METRICS) + "|",
        *(_markdown_row(comparison, mode) for mode in comparison.modes),
        "",
        f"Median, its ratio to {comparison.baseline.name}, and (minimum–maximum)."
        if comparison.runs_per_mode > 1
        else f"The ratio is to {comparison.baseline.name}.",
        "",
        *(f"{text[0].upper()}{text[1:]}." for text in (comparison.verdict, comparison.warning) if text),
        "",
        *(f"- {line}" for line in comparison.conditions),
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(comparison: Comparison, mode: ModeResult) -> str:
    cells = (comparison.cell(mode, metric) for metric in METRICS)
    texts = (" ".join(filter(None, (median, ratio, span and f"({span})"))) for median, ratio, span in cells)
    return f"| {mode.name} | " + " | ".join(texts) + " |"


WRITERS: Mapping[str, Callable[[Comparison], str]] = {
    ".json": to_json,
    ".csv": to_csv,
    ".md": to_markdown,
    ".html": render_page,
}
