"""Decode time and memory as prompt and answer grow.

    python -m benchmarks.scaling [--shape tiny|0.5b|vita15] [--lengths 1024,2048,4096,8192] [--runs 5]
    python -m benchmarks.scaling --layers 2 --width 64

Each length is measured twice: as a prompt before a short answer, and as a place in one long answer.  This package's
loop and transformers' ``generate`` run interleaved on the same random weights; their token ids are compared.  The
table goes to stderr: median time per token, and how much the native loop's memory had grown, at most, when prompts of
that length had been answered first.  The last line on stdout is JSON.
"""

from functools import partial
from typing import Any

import click
import torch

from benchmarks.decode_ways import BASELINE, NATIVE, Decoded, Way, make_ways
from benchmarks.measuring import host, interleave, milliseconds, print_json, print_table, summarize
from benchmarks.shapes import Shape, shape_options, take_shape
from vita_demo.device import peak_memory_bytes

# Tokens over which one place of an answer is measured.
_WINDOW = 16
_SHORT_PROMPT = 16


def grow_memory(shape: Shape, native: Way, lengths: list[int]) -> dict[int, int]:
    """Return the growth of the peak after each length, in rising order; prefill is counted in."""
    native(shape.prompt(_SHORT_PROMPT), _WINDOW)
    before = peak_memory_bytes(shape.device) or 0
    growth = {}
    for length in lengths:
        native(shape.prompt(length), _WINDOW)
        growth[length] = (peak_memory_bytes(shape.device) or 0) - before
    return growth


def measure(shape: Shape, engines: dict[str, Way], lengths: list[int], runs: int) -> dict[str, dict[str, Any]]:
    """Return what was found of each kind and length: times per token by engine, and the equal tokens."""
    ways = {
        (engine, f"prompt {length}"): partial(way, shape.prompt(length), _WINDOW + 1)
        for length in lengths
        for engine, way in engines.items()
    }
    for engine, way in engines.items():
        ways[engine, "answer"] = partial(way, shape.prompt(_SHORT_PROMPT), lengths[-1])
    results = interleave({" | ".join(key): way for key, way in ways.items()}, runs)
    found: dict[str, dict[str, Any]] = {}
    for length in lengths:
        prompts = {engine: results[f"{engine} | prompt {length}"] for engine in engines}
        answers = {engine: results[f"{engine} | answer"] for engine in engines}
        found[f"prompt {length}"] = compare(prompts, _WINDOW + 1)
        found[f"answer {length}"] = compare(answers, length)
    return found


def compare(results: dict[str, list[Decoded]], count: int) -> dict[str, Any]:
    """Sum up the last tokens before ``count`` of each engine's runs."""
    times = {engine: summarize([run.tpot_before(count, _WINDOW) for run in runs]) for engine, runs in results.items()}
    equal = min(run.equal_tokens(results[BASELINE][0]) for runs in results.values() for run in runs)
    return {"tpot_s": times, "equal_tokens": min(equal, count), "tokens": count}


@click.command()
@shape_options
@click.option("--lengths", default="1024,2048,4096,8192", show_default=True, help="Positions, rising.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each way.")
def main(lengths: str, runs: int, **flags: Any) -> None:
    """Measure how decoding scales."""
    shape, sizes = take_shape(flags), sorted(int(length) for length in lengths.split(","))
    before, every = host(), make_ways(shape.build())
    growth = grow_memory(shape, every[NATIVE], sizes)
    found = measure(shape, {engine: every[engine] for engine in (NATIVE, BASELINE)}, sizes, runs)
    rows = []
    for name, point in found.items():
        kind, _, length = name.partition(" ")
        times = [milliseconds(point["tpot_s"][engine]["median"]) for engine in (NATIVE, BASELINE)]
        memory = f"{growth[int(length)] / 1e6:.1f}" if kind == "prompt" else ""
        rows.append((name, *times, f"{point['equal_tokens']} of {point['tokens']}", memory))
    columns = ("positions", f"{NATIVE}, ms", f"{BASELINE}, ms", "equal tokens", "memory, MB")
    print_table(f"{shape}: ms a token", columns, rows)
    settings = {"shape": shape.name, "dtype": str(shape.dtype), "seed": shape.seed, "runs": runs}
    print_json({**settings, "points": found, "memory_growth_bytes": growth, "host": before})
    if shape.dtype == torch.float32 and any(point["equal_tokens"] < point["tokens"] for point in found.values()):
        raise SystemExit("the engines gave different tokens")


if __name__ == "__main__":
    main()
