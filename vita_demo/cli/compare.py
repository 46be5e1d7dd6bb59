"""The command that compares the modes of generation."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from vita_demo.checkpoint.source import ModelSource
from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import (
    FILE,
    generation_options,
    make_options,
    make_request,
    make_source,
    media_options,
    model_options,
)
from vita_demo.errors import ComparisonError, InputError
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.commands.compare.record import Comparison
    from vita_demo.console import Console

comparison_options = option_group(
    "Comparison",
    click.option("--modes", help="Comma list of blocking, streaming, callbacks, iterator, transformers; default all."),
    click.option("--runs", default=5, show_default=True, help="Measured runs of each mode, after a warm-up."),
    click.option(
        "--output",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Also write .json, .csv, .md or .html; repeatable.",
    ),
)


@command(media_options, model_options, generation_options, comparison_options)
def compare(console: "Console", **flags: Any) -> None:
    """Answer one request in several modes; verify that the answers are equal and compare the speed.

    The modes are: blocking, the whole answer at once; streaming, printed through a TextStreamer; callbacks, with
    logging, performance and trace; iterator, read from a thread; and transformers, the other engine on the same
    weights.  They take turns.  Exit code 1 means that an answer differed.
    """
    console.handle_logs(logging.WARNING)
    request = make_request(flags)
    modes = check_comparison(flags)
    source = make_source(flags, console)
    comparison = run_comparison(source, flags, request, modes, console)

    from vita_demo.commands.compare.output import write
    from vita_demo.commands.compare.table import print_comparison

    print_comparison(comparison)
    for path in flags["output"]:
        write(comparison, path)
    if comparison.difference is not None:
        raise ComparisonError(comparison.difference.describe())


def check_comparison(flags: dict[str, Any]) -> list[str]:
    """Validate the comparison's flags and return the modes to run, each once.

    Raises:
        InputError: when a mode is unknown, there is no run, or an output cannot be written.
    """
    from vita_demo.commands.compare.modes import MODES
    from vita_demo.commands.compare.output import check_output

    modes = [*MODES] if flags["modes"] is None else [name.strip() for name in flags["modes"].split(",")]
    for name in modes:
        if name not in MODES:
            raise InputError(f"--modes {name!r} is unknown; give some of {','.join(MODES)}")
    if flags["runs"] < 1:
        raise InputError(f"--runs {flags['runs']} must be at least 1; 5 is the default")
    for path in flags["output"]:
        check_output(path)
    if flags["quantize"] is not None and flags["modes"] is None:
        modes.remove("transformers")
    return list(dict.fromkeys(modes))


def run_comparison(
    source: ModelSource, flags: dict[str, Any], request: Request, modes: list[str], console: "Console"
) -> "Comparison":
    """Load the model once and compare."""
    from vita_demo.commands.compare.modes import comparable

    settings = source.read()
    options = make_options({**flags, "strict_callbacks": False}, settings)
    if "transformers" in modes:
        replace(options, engine="transformers", speculate=0).check_quantized(flags["quantize"])
    seeded = comparable(options)
    if seeded != options:
        console.note(f"every run samples with seed {seeded.seed}; --seed sets another")

    from vita_demo.commands.compare.run import compare as compare_modes
    from vita_demo.pipeline import Pipeline

    with console.stages() as stages:
        pipeline = Pipeline.of(source, settings, stages.loading)
    runs = flags["runs"]
    with console.counting("comparing", len(modes) * (runs + 1)) as advance:
        return compare_modes(pipeline, request, seeded, modes=modes, runs=runs, progress=advance)
