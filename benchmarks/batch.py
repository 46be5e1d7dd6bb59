"""A batch: rows a second, against a loop of commands, a loop of ``Pipeline.generate``, and the floor of the stages.

    python -m benchmarks.batch [--rows 24] [--tokens 32] [--slots 8] [--runs 3]
    python -m benchmarks.batch --ways "generate,batch,ray" --workers 2 [--model_path FOLDER]

Each row asks about a picture of its own, of as many tiles as ``--side`` makes of its pixels.  "commands" calls
``vita-demo`` for a few of the rows, one after the other; "generate" is ``Pipeline.generate`` in a loop; "batch" is
``vita-demo batch`` within this process, and "ray" the same with ``--ray`` on a cluster of this machine, whose start is
not counted.  Each run of "ray" loads the copies of the model anew, which counts, so that it takes many rows to see its
rate.  All run interleaved after a warm-up; a rate is that of the 10th percentile of the times.  The floor adds up what
a row's stages cost at least, each at the rate that was measured here.  The table goes to stderr; the last line on
stdout is JSON.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import numpy as np
from PIL import Image

from benchmarks.decode import choose
from benchmarks.floors import row_floors_s
from benchmarks.machine import Machine
from benchmarks.measuring import host, interleave, print_json, print_table, summarize
from vita_demo.batch.batch import Answers, Batch
from vita_demo.batch.input import open_input
from vita_demo.batch.output import Output
from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.image import choose_grid
from vita_demo.request import Request, Sampling

QUESTION = "Describe this image."
_COMMANDS = 2


@dataclass(frozen=True)
class Task:
    """What is to be answered.

    Attributes:
        folder: pictures, one a row.
        options: how to generate; all answers are as long as one another.
        slots: answers at once.
    """

    folder: Path
    options: GenerationOptions
    slots: int

    @property
    def pictures(self) -> list[Path]:
        """The pictures, in order."""
        return sorted(self.folder.glob("*.png"))


@dataclass(frozen=True)
class Run:
    """Rows that were answered.

    Attributes:
        seconds: that all took.
        rows: how many.
    """

    seconds: float
    rows: int


def make_pictures(folder: Path, rows: int, side: int, seed: int = 0) -> None:
    """Make square pictures of random blocks."""
    generator = np.random.default_rng(seed)
    for number in range(rows):
        blocks = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST).save(folder / f"{number:04}.png")


def commands(pipeline: Pipeline, task: Task) -> Run:
    """Call the command for the first few pictures."""
    source, pictures, start = pipeline.source, task.pictures[:_COMMANDS], perf_counter()
    for picture in pictures:
        arguments = ["--image_path", picture, "--question", QUESTION, "--max_new_tokens", task.options.max_new_tokens]
        arguments += ["--min_new_tokens", task.options.max_new_tokens, "--model_path", source.model_path, "--quiet"]
        arguments += ["--device", source.device, "--dtype", source.dtype, "--threads", source.threads]
        command = [sys.executable, "-m", "vita_demo", *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Run(perf_counter() - start, len(pictures))


def generate(pipeline: Pipeline, task: Task) -> Run:
    """Answer one after the other."""
    start = perf_counter()
    for picture in task.pictures:
        pipeline.generate(Request(QUESTION, (picture,)), task.options)
    return Run(perf_counter() - start, len(task.pictures))


def batch(answers: Answers, task: Task) -> Run:
    """Answer as ``vita-demo batch`` does."""
    with TemporaryDirectory() as folder:
        rows = open_input(str(task.folder), "*.png")
        whole = Batch(rows, QUESTION, Sampling(), task.options, task.slots)
        start = perf_counter()
        progress = whole.run(answers, Output(Path(folder) / "out.jsonl"), StopSignal())
        seconds = perf_counter() - start
    if progress.errors:
        raise RuntimeError(f"{progress.errors} rows of {progress.rows} failed")
    return Run(seconds, progress.rows)


@contextmanager
def cluster(pipeline: Pipeline, workers: int) -> Iterator[Answers]:
    """Start a cluster with as many copies of the model."""
    from vita_demo.cluster.answers import ClusterAnswers
    from vita_demo.cluster.connection import LOCAL, cluster_gpus, connected
    from vita_demo.cluster.pool import Pool, Share

    with connected(LOCAL):
        share = Share.of(pipeline.source, cluster_gpus())
        yield ClusterAnswers(pipeline.source, pipeline.settings.config, Pool(workers, workers), share)


WAYS = ("commands", "generate", "batch", "ray")


def make_calls(
    names: Sequence[str], pipeline: Pipeline, task: Task, workers: int, stack: ExitStack
) -> Mapping[str, Callable[[], Run]]:
    """Make what is measured."""
    calls: dict[str, Callable[[], Run]] = {
        "commands": partial(commands, pipeline, task),
        "generate": partial(generate, pipeline, task),
        "batch": partial(batch, pipeline, task),
    }
    if "ray" in names:
        calls["ray"] = partial(batch, stack.enter_context(cluster(pipeline, workers)), task)
    return {name: calls[name] for name in names}


def report(title: str, found: Mapping[str, Any], floor: float) -> None:
    """Show the rates, and how many times that of ``generate`` and what share of the floor each is."""
    base = found.get("generate", {}).get("rows_per_s")
    rows = [
        (
            name,
            f"{way['rows_per_s']:.2f}",
            f"{way['rows_per_s'] / base:.2f} ×" if base else "",
            f"{way['rows_per_s'] / floor:.0%}",
        )
        for name, way in found.items()
    ]
    print_table(
        title, ("way", "rows/s", "of generate", "of the floor"), [*rows, ("the floor", f"{floor:.2f}", "", "100%")]
    )


@click.command()
@click.option("--rows", default=24, show_default=True, help="Pictures.")
@click.option("--side", default=448, show_default=True, help="Pixels of a picture's side.")
@click.option("--tokens", default=32, show_default=True, help="Length of each answer.")
@click.option("--slots", default=8, show_default=True, help="Answers at once, of each copy of the model.")
@click.option("--workers", default=1, show_default=True, help="Copies of the model, with Ray.")
@click.option("--runs", default=3, show_default=True, help="Measured runs of each way.")
@click.option("--ways", default="commands,generate,batch", show_default=True, help="Which; also ray.")
@click.option("--model_path", default=EMBEDDED, show_default=True, help="A checkpoint's folder or hub id.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--dtype", default="float32", show_default=True, help="float32, float16 or bfloat16.")
@click.option("--threads", default=1, show_default=True, help="Threads of each copy of the model.")
def main(rows: int, side: int, workers: int, runs: int, ways: str, **flags: Any) -> None:
    """Measure a batch."""
    names, before = choose(ways, dict.fromkeys(WAYS), "--ways"), host()
    tokens, slots = flags.pop("tokens"), flags.pop("slots")
    pipeline = Pipeline.load(flags.pop("model_path"), **flags)
    config = pipeline.settings.config
    options = GenerationOptions.resolve(config.generation_defaults, max_new_tokens=tokens, min_new_tokens=tokens)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        make_pictures(Path(folder), rows, side)
        task = Task(Path(folder), options, slots)
        results = interleave(make_calls(names, pipeline, task, workers, stack), runs)
    columns, lines = choose_grid(side, side, config.vision.image_size)
    tiles = columns * lines + (columns * lines > 1)  # with the whole picture in small
    machine = Machine.measure(pipeline.model.device, pipeline.model.dtype)
    floors = row_floors_s(
        config, machine, tiles=tiles, tokens=tokens, slots=slots, value_bytes=pipeline.model.dtype.itemsize
    )
    found = {}
    for name, way in results.items():
        summary = summarize([run.seconds / run.rows for run in way])
        found[name] = {"row_s": summary, "rows_per_s": 1 / summary["p10"]}
    title = f"{rows} pictures of {tiles} tiles, {tokens} tokens each, {slots} slots; the machine {machine}"
    report(title, found, 1 / sum(floors.values()))
    settings = {"rows": rows, "tiles": tiles, "tokens": tokens, "slots": slots, "workers": workers, "runs": runs}
    print_json({**settings, "host": before, "machine": machine.to_dict(), "floors_s": floors, "ways": found})


if __name__ == "__main__":
    main()
