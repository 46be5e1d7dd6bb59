"""From the start of the process to the first token, by stage.

    python -m benchmarks.startup [--model_path embedded] [--runs 5] [--threads 2]

Each run is a fresh process.  Beside the library by stages stand the same question through the command line, whose
time goes to its end, and the imports that transformers' ``generate`` needs before it can load anything.  The table
goes to stderr; the last line on stdout is JSON.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import click

from benchmarks.measuring import host, interleave, milliseconds, print_json, print_table, summarize
from vita_demo.checkpoint.settings import Settings

STAGES = """
import sys, time
times = [time.time()]
def done(): times.append(time.time())
import torch
done()
from vita_demo.pipeline import Pipeline
from vita_demo import GenerationOptions, ModelSource, Request
done()
source = ModelSource(sys.argv[1], device=sys.argv[2])
settings = source.read()
done()
pipeline = Pipeline.of(source, settings)
done()
next(pipeline.stream(Request(question="What can you do?"), GenerationOptions(max_new_tokens=2)))
done()
print(times)
"""
NAMES = ("interpreter", "import torch", "import vita_demo", "settings and tokenizer", "weights", "first token")
TRANSFORMERS = "import torch; from transformers import Qwen2ForCausalLM"


def run_stages(model_path: str, device: str, threads: int) -> dict[str, float]:
    """Return the seconds of each stage of one fresh process, and their sum."""
    start = time.time()
    times = [start, *json.loads(_run([sys.executable, "-c", STAGES, model_path, device], threads))]
    stages = {name: later - earlier for name, earlier, later in zip(NAMES, times[:-1], times[1:], strict=True)}
    return {**stages, "library, to the first token": times[-1] - start}


def run_whole(name: str, command: list[str], threads: int) -> dict[str, float]:
    """Return the seconds of one fresh process."""
    start = time.time()
    _run([sys.executable, *command], threads)
    return {name: time.time() - start}


def _run(command: list[str], threads: int) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)} if threads else None
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


@click.command()
@click.option("--model_path", default="embedded", show_default=True, help="A checkpoint's folder or hub id.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each.")
@click.option("--threads", default=0, help="Threads; by default torch's choice.")
def main(model_path: str, device: str, runs: int, threads: int) -> None:
    """Measure the start."""
    # Where the embedded model was never made, that is no part of a start.
    Settings.read(model_path)
    question = ("--question", "What can you do?", "--max_new_tokens", "1", "--quiet")
    command = ["-m", "vita_demo", "--model_path", model_path, "--device", device, *question]
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "library": partial(run_stages, model_path, device, threads),
        "command": partial(run_whole, "command, to its end", command, threads),
        "transformers": partial(run_whole, "imports of transformers", ["-c", TRANSFORMERS], threads),
    }
    results = interleave(ways, runs)
    stages = {
        stage: summarize([run[stage] for run in measured]) for measured in results.values() for stage in measured[0]
    }
    rows = [
        (name, milliseconds(stage["median"]), f"{milliseconds(stage['min'])} – {milliseconds(stage['max'])}")
        for name, stage in stages.items()
    ]
    print_table(f"start of {model_path} on {device}: ms", ("stage", "median", "min – max"), rows)
    print_json({"model_path": model_path, "device": device, "stages_s": stages, "runs": runs, "host": host()})


if __name__ == "__main__":
    main()
