"""The stages before decoding: encoders, prefill and time to first token, against the floors of their arithmetic.

    python -m benchmarks.stages [--shape tiny|0.5b|vita15] [--device cuda] [--dtype bfloat16] [--runs 5]
    python -m benchmarks.stages --shape 0.5b --dtype bfloat16 --stages prefill --positions 512

All run interleaved on random weights after warm-ups.  A floor is the larger of a stage's matrix products over the rate
at which the machine multiplies large matrices in that dtype, and of its weights over the rate at which it reads; both
rates are measured in the same run.  Prefill stands beside transformers' on the same weights, and their next tokens are
compared.  The first token counts from media that were read to its id on the host; an encoder counts from what it
reads to its features on the device.  The table goes to stderr; the last line on stdout is JSON.
"""

from typing import Any

import click
import torch

from benchmarks.machine import Machine
from benchmarks.measuring import (
    first_calls,
    host,
    interleave,
    milliseconds,
    print_json,
    print_table,
    spread,
    summarize,
)
from benchmarks.shapes import Shape, shape_options, take_shape
from benchmarks.stage_ways import Stage, Stages, Timing

_KINDS = ("vision", "audio", "prefill", "first_token")
# A CPU takes seconds for what a GPU does in milliseconds.
_SIZES = {
    "cpu": {"tiles": "1", "seconds": "3.5", "positions": "100,512", "frames": "4"},
    "cuda": {"tiles": "1,5,13", "seconds": "3.5,30", "positions": "100,1400,3400", "frames": "16"},
}


def make_stages(shape: Shape, kinds: list[str], sizes: dict[str, list[float]]) -> dict[str, Stage]:
    """Make what was asked for, in the order of the data."""
    make, found = Stages(shape, shape.build_whole()), dict[str, Stage]()
    tiles, positions = [int(count) for count in sizes["tiles"]], [int(count) for count in sizes["positions"]]
    for count in tiles if "vision" in kinds else ():
        found |= make.vision(count)
    for seconds in sizes["seconds"] if "audio" in kinds else ():
        found |= make.audio(seconds)
    for count in positions if "prefill" in kinds else ():
        found |= make.prefill(count)
    if "first_token" in kinds:
        frames, seconds = int(sizes["frames"][0]), sizes["seconds"][0]
        found |= make.first_token("text")
        found |= make.first_token(f"picture of {tiles[-1]} tiles", tiles=tiles[-1])
        found |= make.first_token(f"video of {frames} frames", tiles=frames)
        found |= make.first_token(f"speech of {seconds:g} s", seconds=seconds)
    return found


def sum_up(stage: Stage, runs: list[Timing], machine: Machine) -> dict[str, Any]:
    """Return what the JSON line says of one stage."""
    found: dict[str, Any] = summarize([run.seconds for run in runs])
    found["positions"] = stage.positions
    found["flop"] = sum(work.flop for work in stage.work)
    found["floor_s"] = sum(work.floor_s(machine) for work in stage.work)
    return found | {"of_floor": found["floor_s"] / found["median"]}


def compare(ours: list[Timing], theirs: list[Timing]) -> dict[str, Any]:
    """Compare two prefills of one prompt: time by the 10th percentile, tokens, and logits by their largest."""
    first, second = ours[0].logits, theirs[0].logits
    if first is None or second is None:
        raise ValueError("only prefills can be compared")
    ours_s, theirs_s = (summarize([run.seconds for run in runs])["p10"] for runs in (ours, theirs))
    deviation = ((first - second).abs().max() / second.abs().max()).item()
    return {
        "speedup": theirs_s / ours_s,
        "equal_token": bool(first.argmax() == second.argmax()),
        "logits_deviation": deviation,
    }


def report(title: str, found: dict[str, dict[str, Any]]) -> None:
    """Show the table."""
    rows = []
    for name, stage in found.items():
        floor = f"{milliseconds(stage['floor_s'])} ({stage['of_floor']:.0%})"
        rival = f"{stage['speedup']:.2f} ×" if "speedup" in stage else ""
        rows.append((name, *spread(stage), floor, rival, milliseconds(stage["first_s"])))
    columns = ("stage", "median", "min – max", "p10", "floor", "speedup", "first call")
    print_table(title, columns, rows)


@click.command()
@shape_options
@click.option("--stages", default=",".join(_KINDS), show_default=True, help="Which.")
@click.option("--tiles", help="Pictures' tiles.")
@click.option("--seconds", help="Seconds of sound.")
@click.option("--positions", help="Lengths of prompts.")
@click.option("--frames", help="Frames of the video.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each.")
def main(stages: str, runs: int, **flags: Any) -> None:
    """Measure what comes before decoding."""
    given = {key: flags.pop(key) for key in ("tiles", "seconds", "positions", "frames")}
    shape, kinds = take_shape(flags), stages.split(",")
    if set(kinds) - set(_KINDS):
        raise click.UsageError(f"--stages {stages} is not of {', '.join(_KINDS)}")
    chosen = {key: given[key] or size for key, size in _SIZES[shape.device.type].items()}
    sizes = {key: [float(size) for size in text.split(",")] for key, text in chosen.items()}
    before, made = host(), make_stages(shape, kinds, sizes)
    machine = Machine.measure(shape.device, shape.dtype)
    ways = {name: stage.run for name, stage in made.items()}
    first_s, results = first_calls(ways), interleave(ways, runs, seconds=lambda run: run.seconds)
    found = {name: sum_up(stage, results[name], machine) | {"first_s": first_s[name]} for name, stage in made.items()}
    for name, stage in made.items():
        if stage.rival is not None:
            found[name] |= compare(results[name], results[stage.rival])
    report(f"{shape}: ms; the machine {machine}", found)
    settings = {"shape": shape.name, "dtype": str(shape.dtype), "seed": shape.seed, "sizes": chosen, "runs": runs}
    print_json({**settings, "stages_s": found, "machine": machine.to_dict(), "host": before})
    if shape.dtype == torch.float32 and not all(stage.get("equal_token", True) for stage in found.values()):
        raise SystemExit("the prefills gave different tokens")


if __name__ == "__main__":
    main()
