"""What callbacks cost per token.

    python -m benchmarks.callbacks [--tokens 256] [--runs 9] [--threads 1]

Runs the embedded model with 0, 1, 3 and 10 do-nothing callbacks and with all built-in ones, interleaved, after a
warm-up, and prints the median and range of the time per token, and the ratio of its 10th percentile to that of no
callbacks.  The last line is JSON.
"""

import json
import logging
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.measuring import fast
from vita_demo.callbacks.builtin import (
    FileCallback,
    LoggingCallback,
    MemoryCallback,
    PerformanceCallback,
    ProgressCallback,
    TraceCallback,
)
from vita_demo.generation.callbacks import GenerationCallback


def builtin(folder: Path) -> list[GenerationCallback]:
    """Build one of each kind that ships, with its default options."""
    return [
        LoggingCallback(),
        ProgressCallback(),
        PerformanceCallback(),
        MemoryCallback(),
        FileCallback(str(folder / "answer.txt")),
        TraceCallback(str(folder / "trace.jsonl")),
    ]


def measure(tokens: int, runs: int, threads: int) -> dict[str, list[float]]:
    """Return seconds per token of each run by configuration; token ids are checked to be equal."""
    import torch

    from vita_demo import GenerationOptions, Pipeline, Request

    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.INFO, filename=os.devnull)
    pipeline = Pipeline.load(device="cpu", dtype="float32")
    request, options = Request(question="hi"), GenerationOptions(max_new_tokens=tokens)
    with tempfile.TemporaryDirectory() as temporary:
        makers: dict[str, Callable[[], list[GenerationCallback]]] = {
            "none": list,
            **{
                f"{count} empty": lambda count=count: [GenerationCallback() for _ in range(count)]
                for count in (1, 3, 10)
            },
            "all built-in": lambda: builtin(Path(temporary)),
        }
        times: dict[str, list[float]] = {name: [] for name in makers}
        answers = set()
        for number in range(runs + 1):
            for name, make in makers.items():
                answer = pipeline.generate(request, options, callbacks=make())
                answers.add(answer.token_ids)
                if number and answer.stats.tpot_s is not None:
                    times[name].append(answer.stats.tpot_s)
    if len(answers) != 1:
        raise SystemExit("callbacks changed the answer")
    return times


@click.command()
@click.option("--tokens", default=256, show_default=True)
@click.option("--runs", default=9, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(tokens: int, runs: int, threads: int) -> None:
    """Measure what callbacks cost per token."""
    times = measure(tokens, runs, threads)
    print(f"{'callbacks':14}{'ms a token':>12}{'min – max':>18}{'against none':>14}")
    result: dict[str, float] = {}
    for name, values in times.items():
        result[name] = fast(values) / fast(times["none"])
        span = f"{min(values) * 1e3:.3f} – {max(values) * 1e3:.3f}"
        print(f"{name:14}{statistics.median(values) * 1e3:12.3f}{span:>18}{result[name]:14.3f}")
    host = {"platform": platform.platform(), "python": platform.python_version(), "threads": threads}
    print(json.dumps({"ratios": result, "tokens": tokens, "runs": runs, "host": host}))


if __name__ == "__main__":
    main()
