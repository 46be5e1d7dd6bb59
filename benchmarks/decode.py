"""Decode speed: this package's loop against transformers' ``generate`` with its streamer, on the same random weights.

    python -m benchmarks.decode [--shape tiny|0.5b|vita15] [--dtype float32] [--tokens 256] [--runs 5] [--threads 2]
    python -m benchmarks.decode --layers 2 --width 64

All ways run interleaved after a warm-up, with and without three callbacks; their token ids are compared.  The table
goes to stderr: time per token as median, range and 10th percentile, and how many times faster than transformers'
``generate`` with its streamer the 10th percentile is.  The last line on stdout is JSON.
"""

from functools import partial
from typing import Any

import click
import torch

from benchmarks.decode_ways import BASELINE, Decoded, make_ways
from benchmarks.measuring import host, interleave, milliseconds, print_json, print_table, summarize
from benchmarks.shapes import Shape, shape_options, take_shape


def report(shape: Shape, results: dict[str, list[Decoded]]) -> dict[str, Any]:
    """Show the table and return what the JSON line says of each way."""
    ways = {name: summarize([run.tpot_s for run in runs]) for name, runs in results.items()}
    expected = results[BASELINE][0]
    rows = []
    for name, way in ways.items():
        way["speedup"] = ways[BASELINE]["p10"] / way["p10"]
        way["equal_tokens"] = min(run.equal_tokens(expected) for run in results[name])
        span = f"{milliseconds(way['min'])} – {milliseconds(way['max'])}"
        columns = (milliseconds(way["median"]), span, milliseconds(way["p10"]), f"{way['speedup']:.2f} ×")
        rows.append((name, *columns, f"{way['equal_tokens']} of {len(expected.token_ids)}"))
    print_table(f"{shape}: ms a token", ("way", "median", "min – max", "p10", "speedup", "equal tokens"), rows)
    return ways


@click.command()
@shape_options
@click.option("--positions", default=64, show_default=True, help="Length of the prompt.")
@click.option("--tokens", default=256, show_default=True, help="Length of the answer.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each way.")
def main(positions: int, tokens: int, runs: int, **flags: Any) -> None:
    """Measure decoding against transformers."""
    shape = take_shape(flags)
    before, prompt = host(), shape.prompt(positions)
    ways = {name: partial(way, prompt, tokens) for name, way in make_ways(shape.build()).items()}
    found = report(shape, interleave(ways, runs))
    settings = {"shape": shape.name, "dtype": str(shape.dtype), "seed": shape.seed, "positions": positions}
    print_json({**settings, "tokens": tokens, "runs": runs, "tpot_s": found, "host": before})
    if shape.dtype == torch.float32 and any(way["equal_tokens"] < tokens for way in found.values()):
        raise SystemExit("the ways gave different tokens")


if __name__ == "__main__":
    main()
