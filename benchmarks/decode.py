"""Decode speed: this package's loop against transformers' ``generate`` with its streamer, on the same random weights.

    python -m benchmarks.decode [--shape tiny|0.5b|vita15] [--dtype float32] [--tokens 256] [--runs 5] [--threads 2]
    python -m benchmarks.decode --layers 2 --width 64

All ways run interleaved after a warm-up, with and without three callbacks; their token ids are compared.  The table
goes to stderr: time per token as median, range and 10th percentile, and how many times faster than transformers'
``generate`` with its streamer the 10th percentile is.  The last line on stdout is JSON.
"""

from typing import Any

import click
import torch

from benchmarks.decode_ways import Decoded, make_ways
from benchmarks.measuring import host, interleave, milliseconds, print_json, print_table, summarize
from benchmarks.shapes import SHAPES, Shape, explicit_shape, read_shape

BASELINE = "transformers, streamer"


def report(shape: Shape, results: dict[str, list[Decoded]], **settings: Any) -> dict[str, Any]:
    """Show the table and return what the JSON line says."""
    ways = {name: summarize([decoded.tpot_s for decoded in decodings]) for name, decodings in results.items()}
    expected = results[BASELINE][0].token_ids
    rows = []
    for name, way in ways.items():
        way["speedup"] = ways[BASELINE]["p10"] / way["p10"]
        way["equal_tokens"] = min(_equal(decoded.token_ids, expected) for decoded in results[name])
        span = f"{milliseconds(way['min'])} – {milliseconds(way['max'])}"
        columns = (milliseconds(way["median"]), span, milliseconds(way["p10"]), f"{way['speedup']:.2f} ×")
        rows.append((name, *columns, f"{way['equal_tokens']} of {len(expected)}"))
    title = f"{shape.name}, {str(shape.dtype).removeprefix('torch.')} on {shape.device}: ms a token"
    print_table(title, ("way", "median", "min – max", "p10", "speedup", "equal tokens"), rows)
    return {"shape": shape.name, "dtype": str(shape.dtype), "tpot_s": ways, **settings, "host": host()}


def _equal(token_ids: tuple[int, ...], expected: tuple[int, ...]) -> int:
    """Count the tokens before the first difference."""
    pairs = zip(token_ids, expected, strict=True)
    return next((step for step, (ours, theirs) in enumerate(pairs) if ours != theirs), len(expected))


@click.command()
@click.option("--shape", "name", type=click.Choice(SHAPES), help="A model's shape; or give --layers and --width.")
@click.option("--layers", type=int, help="Decoder layers.")
@click.option("--width", type=int, help="Width of the model.")
@click.option("--heads", default=0, help="Query heads; by default 32 wide each, or 16.")
@click.option("--kv_heads", default=0, help="Key-value heads; by default a third or half of the heads.")
@click.option("--intermediate", default=0, help="Width of the gated layer; by default 8/3 of the model's.")
@click.option("--vocab", default=1017, show_default=True, help="Vocabulary size.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--dtype", default="float32", show_default=True, help="float32, float16 or bfloat16.")
@click.option("--positions", default=64, show_default=True, help="Length of the prompt.")
@click.option("--tokens", default=256, show_default=True, help="Length of the answer.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each way.")
@click.option("--threads", default=0, help="Threads; by default torch's choice.")
@click.option("--seed", default=0, show_default=True, help="Of the random weights.")
def main(**flags: Any) -> None:
    """Measure decoding against transformers."""
    if flags["threads"]:
        torch.set_num_threads(flags["threads"])
    shape = make_shape(flags)
    settings = {key: flags[key] for key in ("positions", "tokens", "runs", "seed")}
    results = interleave(make_ways(shape, flags["positions"], flags["tokens"]), flags["runs"])
    result = report(shape, results, **settings)
    print_json(result)
    if shape.dtype == torch.float32 and any(way["equal_tokens"] < flags["tokens"] for way in result["tpot_s"].values()):
        raise SystemExit("the ways gave different tokens")


def make_shape(flags: dict[str, Any]) -> Shape:
    """Read the shape out of the flags.

    Raises:
        click.UsageError: when neither a name nor numbers are given.
    """
    names = ("layers", "width", "heads", "kv_heads", "intermediate", "vocab")
    if flags["name"]:
        name, config = flags["name"], read_shape(flags["name"])
    elif flags["layers"] and flags["width"]:
        name, config = f"{flags['layers']} × {flags['width']}", explicit_shape(*(flags[key] for key in names))
    else:
        raise click.UsageError("give --shape, or --layers and --width")
    return Shape(name, config, torch.device(flags["device"]), getattr(torch, flags["dtype"]), flags["seed"])


if __name__ == "__main__":
    main()
