"""Decode time and memory as prompt and answer grow.

    python -m benchmarks.scaling [--shape tiny|0.5b|vita15] [--lengths 1024,2048,4096,8192] [--runs 5]
    python -m benchmarks.scaling --layers 2 --width 64

Each length is measured twice: as a prompt before a short answer, and as a place in one long answer.  This package's
loop, in its fastest way, and transformers' ``generate`` run interleaved on the same random weights; their token ids
are compared.  The table goes to stderr: median time per token, and how much the native loop's memory had grown, at
most, when prompts of that length had been answered first.  The last line on stdout is JSON.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click
import torch

from benchmarks.decode import WAYS, choose
from benchmarks.decode_ways import Call, Decoded, Subject, Way, bind, make_ways
from benchmarks.measuring import host, interleave, milliseconds, print_json, print_table, summarize
from benchmarks.native_ways import FAST
from benchmarks.shapes import Shape, shape_options, take_shape
from benchmarks.transformers_ways import BASELINE
from vita_demo.engine.device import peak_memory_bytes

# Tokens over which one place of an answer is measured.
_WINDOW = 16
_SHORT_PROMPT = 16


def grow_memory(shape: Shape, make_way: Callable[[], Way], lengths: list[int]) -> dict[int, int]:
    """Return the growth of the peak after each length, in rising order; prefill is counted in."""
    make_way().decode(shape.prompt(_SHORT_PROMPT), _WINDOW, ())
    before = peak_memory_bytes(shape.device) or 0
    growth = {}
    for length in lengths:
        # Made anew, since a way keeps its caches.
        make_way().decode(shape.prompt(length), _WINDOW, ())
        growth[length] = (peak_memory_bytes(shape.device) or 0) - before
    return growth


def measure(
    shape: Shape, ways: Mapping[str, Way], points: Mapping[str, tuple[int, int]], runs: int
) -> dict[str, dict[str, Any]]:
    """Return what was found at each point: times per token by way, and the equal tokens.

    A point is the prompt's length and the place in the answer up to which it is measured; points of one prompt share
    their answers.
    """
    answers: dict[int, int] = {}
    for positions, tokens in points.values():
        answers[positions] = max(tokens, answers.get(positions, 0))
    calls: dict[tuple[str, int], Call] = {}
    for positions, tokens in answers.items():
        bound = bind(ways, shape.prompt(positions), dict.fromkeys(("fast", "slow"), tokens))
        calls |= {(name, positions): call for name, call in bound.items()}
    results = interleave(calls, runs)
    return {
        point: compare({name: results[name, positions] for name in ways}, tokens)
        for point, (positions, tokens) in points.items()
    }


def compare(results: Mapping[str, list[Decoded]], count: int) -> dict[str, Any]:
    """Sum up the last tokens before ``count`` of each way's runs."""
    times = {name: summarize([run.tpot_before(count, _WINDOW) for run in runs]) for name, runs in results.items()}
    expected = next(iter(results.values()))[0]
    equal = min(run.equal_tokens(expected) for runs in results.values() for run in runs)
    return {"tpot_s": times, "equal_tokens": min(equal, count), "tokens": count}


@click.command()
@shape_options
@click.option("--lengths", default="1024,2048,4096,8192", show_default=True, help="Positions.")
@click.option("--kinds", default="prompt,answer", show_default=True, help="What grows.")
@click.option("--ways", default="", help="Names as in benchmarks.decode, instead of the fastest and transformers.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each way.")
def main(lengths: str, kinds: str, ways: str, runs: int, **flags: Any) -> None:
    """Measure how decoding scales."""
    names = choose(ways or ",".join((*FAST, BASELINE)), WAYS, "--ways")
    shape, sizes = take_shape(flags), sorted(int(length) for length in lengths.split(","))
    before, subject = host(), Subject(shape.build())
    chosen, missing = make_ways(subject, {name: WAYS[name] for name in names})
    if missing.failed or not chosen:
        raise SystemExit(f"cannot measure {missing}")
    if not ways:
        chosen = {name: chosen[name] for name in [next(name for name in FAST if name in chosen), BASELINE]}
    points: dict[str, tuple[int, int]] = {}
    for length in sizes:
        points |= {f"prompt {length}": (length, _WINDOW + 1)} if "prompt" in kinds else {}
        points |= {f"answer {length}": (_SHORT_PROMPT, length)} if "answer" in kinds else {}
    growth = grow_memory(shape, partial(WAYS[next(iter(chosen))], subject), sizes)
    found = measure(shape, chosen, points, runs)
    rows = []
    for name, point in found.items():
        kind, _, place = name.partition(" ")
        times = [milliseconds(point["tpot_s"][way]["median"]) for way in chosen]
        memory = f"{growth[int(place)] / 1e6:.1f}" if kind == "prompt" else ""
        rows.append((name, *times, f"{point['equal_tokens']} of {point['tokens']}", memory))
    columns = ("positions", *(f"{way}, ms" for way in chosen), "equal tokens", "memory, MB")
    print_table(f"{shape}: ms a token", columns, rows)
    settings = {"shape": shape.name, "dtype": str(shape.dtype), "seed": shape.seed, "runs": runs}
    print_json({**settings, "points": found, "memory_growth_bytes": growth, "host": before})
    if shape.dtype == torch.float32 and any(point["equal_tokens"] < point["tokens"] for point in found.values()):
        raise SystemExit("the ways gave different tokens")


if __name__ == "__main__":
    main()
