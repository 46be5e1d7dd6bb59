"""How every benchmark measures: interleaved runs after a warm-up, the host beside the figures, one JSON last line."""

import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


def interleave(
    ways: Mapping[Key, Callable[[], Result]],
    runs: int,
    warm_ups: int = 1,
    seconds: Callable[[Result], float] | None = None,
) -> dict[Key, list[Result]]:
    """Run all ways in turn, ``runs`` times after the warm-ups; what else the machine does then meets all alike.

    Args:
        ways: what to run.
        runs: measured runs of each.
        warm_ups: runs before.
        seconds: tells of a run what to keep at once; see ``keep``.
    """
    results: dict[Key, list[Result]] = {name: [] for name in ways}
    for number in range(warm_ups + runs):
        for name, way in ways.items():
            result = way()
            if number >= warm_ups:
                results[name].append(result)
                if seconds is not None:
                    keep(str(name), ms=1e3 * seconds(result))
    return results


def keep(figure: str, **values: Any) -> None:
    """Show a figure on stderr and append it to the file that FIGURES names, so that it outlives what comes after it.

    Where FIGURES names none, the benchmark's table and its last line are enough.
    """
    path = os.environ.get("FIGURES")
    if path is None:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"figure": figure, **values}) + "\n")
    rounded = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in values.items()}
    sys.stderr.write(f"{figure}: {', '.join(f'{name} {value}' for name, value in rounded.items())}\n")


def first_calls(ways: Mapping[str, Callable[[], Any]], failed: dict[str, str] | None = None) -> dict[str, float]:
    """Call each way for the first time, which compiles and captures what is made only once.

    Args:
        ways: what to call.
        failed: takes the reasons of those that raise; without it, the first that raises ends all.

    Returns:
        seconds of those that did not.
    """
    seconds = {}
    for name, way in ways.items():
        start = time.perf_counter()
        try:
            way()
        except Exception as error:
            if failed is None:
                raise
            failed[name] = describe(error)
        else:
            seconds[name] = time.perf_counter() - start
            keep(f"{name}, first call", ms=1e3 * seconds[name])
    return seconds


def describe(error: Exception) -> str:
    """Say in one line what was raised."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def fast(values: Sequence[float]) -> float:
    """Return the 10th percentile: what else the machine does makes a run slower, never faster."""
    return statistics.quantiles(values, n=10, method="inclusive")[0] if len(values) > 1 else values[0]


def summarize(values: Sequence[float]) -> dict[str, float]:
    """Sum up the runs of one way."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "p10": fast(values)}


class Notices(logging.Handler):
    """Collects what the package says while something runs: which way was the fastest, or that one failed."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the message, once."""
        if record.getMessage() not in self.texts:
            self.texts.append(record.getMessage())

    def __enter__(self) -> "Notices":
        logger = logging.getLogger("vita_demo")
        self._level_before = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("vita_demo")
        logger.removeHandler(self)
        logger.setLevel(self._level_before)


def host(**more: Any) -> dict[str, Any]:
    """Say what was measured on: processor or GPU, software, threads."""
    import torch
    import transformers

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        **more,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show a table on stderr, the first column to the left and numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(stderr=True, width=110).print(table)


def print_json(result: Mapping[str, Any]) -> None:
    """Print the one line that programs read."""
    print(json.dumps(result))


def spread(way: Mapping[str, float]) -> tuple[str, str, str]:
    """Write what ``summarize`` returns as median, range and 10th percentile in milliseconds."""
    return (
        milliseconds(way["median"]),
        f"{milliseconds(way['min'])} – {milliseconds(way['max'])}",
        milliseconds(way["p10"]),
    )


def milliseconds(seconds: float) -> str:
    """Write seconds as milliseconds, with three digits that count."""
    value = seconds * 1e3
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
