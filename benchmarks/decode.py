"""Decode speed: this package's loop against transformers' ``generate`` with its streamer, on the same random weights.

    python -m benchmarks.decode [--shape tiny|0.5b|vita15] [--dtype float32] [--tokens 256] [--runs 5] [--threads 2]
    python -m benchmarks.decode --layers 2 --width 64
    python -m benchmarks.decode --shape vita15 --device cuda --dtype bfloat16 --positions 1024

All ways that this machine offers run interleaved after warm-ups, with and without three callbacks;
their token ids are compared.  The table goes to stderr: time per token as median, range and 10th percentile; how many
times faster than transformers' ``generate`` with its streamer the 10th percentile is; the bytes of weights and cache
that a token must read over the median time and the rate at which memory is copied, measured in the same run; and the
seconds of the very first answer, which compiles or captures.  "steps alone" chooses and shows no tokens, "matrices
alone" only multiplies.  The last line on stdout is JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
import torch

from benchmarks import native_ways, transformers_ways
from benchmarks.decode_ways import Call, Decoded, Maker, Missing, Subject, bind, make_ways
from benchmarks.machine import Machine
from benchmarks.measuring import Notices, first_calls, host, interleave, print_json, print_table, spread, summarize
from benchmarks.shapes import shape_options, take_shape
from benchmarks.transformers_ways import BASELINE
from benchmarks.watchers import CALLBACKS

WAYS: Mapping[str, Maker] = {**native_ways.WAYS, **transformers_ways.WAYS}


def choose(text: str, offered: Mapping[str, Any], flag: str) -> list[str]:
    """Split a flag's value into names.

    Raises:
        click.UsageError: when one is not offered.
    """
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise click.UsageError(f"{flag} {unknown[0]} is not one of: {', '.join(offered)}")
    return names


def choose_baseline(names: Iterable[str]) -> str:
    """Return transformers' default way, with as few callbacks as it was measured with; else the first."""
    found = [*names]
    return next((name for name in found if name.split(",")[0] == BASELINE), found[0])


def sum_up(calls: Mapping[str, Call], results: Mapping[str, list[Decoded]], machine: Machine) -> dict[str, Any]:
    """Return what the JSON line says of each way."""
    ways: dict[str, Any] = {name: summarize([run.tpot_s for run in runs]) for name, runs in results.items()}
    baseline = choose_baseline(results)
    expected = results[baseline][0]
    for name, found in ways.items():
        call, runs = calls[name], results[name]
        found["speedup"] = ways[baseline]["p10"] / found["p10"]
        read_bytes = call.way.bytes_per_token(call.prompt.shape[1] + call.tokens // 2)
        found["bandwidth_fraction"] = read_bytes / found["median"] / machine.copy_bytes_per_s
        if runs[0].token_ids:
            found["equal_tokens"] = min(run.equal_tokens(expected) for run in runs)
            found["compared_tokens"] = min(call.tokens, len(expected.token_ids))
    return ways


def report(title: str, ways: Mapping[str, Any], missing: Missing, notices: Sequence[str]) -> None:
    """Show the table, and why what is not in it is not."""
    rows = []
    for name, way in ways.items():
        equal = f"{way['equal_tokens']} of {way['compared_tokens']}" if "equal_tokens" in way else ""
        speeds = f"{way['speedup']:.2f} ×", f"{way['bandwidth_fraction']:.0%}"
        rows.append((name, *spread(way), *speeds, equal, f"{way['first_s']:.1f}"))
    columns = ("way", "median", "min – max", "p10", "speedup", "of copying", "equal tokens", "first, s")
    print_table(title, columns, rows)
    others = [*missing.left_out.items(), *missing.failed.items(), *(("notice", text) for text in notices)]
    if others:
        print_table("left out or failed", ("way", "because"), others)


@click.command()
@shape_options
@click.option("--positions", default=64, show_default=True, help="Length of the prompt.")
@click.option("--tokens", default=256, show_default=True, help="Length of the answer.")
@click.option("--slow_tokens", type=int, help="Length of the answers of what launches operation by operation.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each way.")
@click.option("--ways", default=",".join(WAYS), show_default=True, help="Which, by their names in the table.")
@click.option("--callbacks", default="none,three", show_default=True, help=f"With which: {', '.join(CALLBACKS)}.")
def main(positions: int, tokens: int, slow_tokens: int | None, runs: int, **flags: Any) -> None:
    """Measure decoding against transformers."""
    names = choose(flags.pop("ways"), WAYS, "--ways")
    callbacks = choose(flags.pop("callbacks"), CALLBACKS, "--callbacks")
    shape = take_shape(flags)
    before, prompt, subject = host(), shape.prompt(positions), Subject(shape.build())
    ways, missing = make_ways(subject, {name: WAYS[name] for name in names})
    calls = bind(ways, prompt, {"fast": tokens, "bare": tokens, "slow": slow_tokens or tokens}, callbacks)
    with Notices() as notices:
        first_s = first_calls(calls, missing.failed)
        results = interleave({name: calls[name] for name in first_s}, runs, seconds=lambda run: run.tpot_s)
    if not results:
        raise SystemExit(f"cannot measure {missing}")
    machine = Machine.measure(shape.device, shape.dtype)
    found = sum_up(calls, results, machine)
    for name, way in found.items():
        way["first_s"] = first_s[name]
    title = f"{shape}, {positions} positions: ms a token; the machine {machine}"
    report(title, found, missing, notices.texts)
    settings = {"shape": shape.name, "dtype": str(shape.dtype), "seed": shape.seed, "positions": positions}
    settings |= {"tokens": tokens, "slow_tokens": slow_tokens or tokens, "runs": runs, **asdict(missing)}
    settings |= {"notices": notices.texts, "machine": machine.to_dict(), "host": before}
    print_json({**settings, "tpot_s": found})
    if missing.failed:
        raise SystemExit(f"failed: {', '.join(missing.failed)}")
    exact = [found[name] for name in found if calls[name].way.exact and "equal_tokens" in found[name]]
    if shape.dtype == torch.float32 and any(way["equal_tokens"] < way["compared_tokens"] for way in exact):
        raise SystemExit("the ways gave different tokens")


if __name__ == "__main__":
    main()
