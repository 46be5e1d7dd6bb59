"""The command that compares the modes of generation."""

import logging
from typing import TYPE_CHECKING, Any

import click

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
from vita_demo.request import refuse_input

if TYPE_CHECKING:
    from vita_demo.console import Console

comparison_options = option_group(
    "Comparison",
    click.option("--modes", help="Comma list of blocking, streaming, callbacks, iterator, together, transformers."),
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
    logging, performance and trace; iterator, read from a thread; together, four answers at once in shared steps;
    and transformers, the other engine on the same weights.  They take turns.  Exit code 1 means that an answer
    differed.
    """
    from vita_demo.commands.compare.plan import Plan

    console.handle_logs(logging.WARNING)
    request = make_request(flags)
    for path in flags["output"]:
        refuse_input(path, request.paths, "--output")
    plan = Plan.of(flags["modes"], flags["runs"], flags["output"], flags["quantize"])
    source = make_source(flags)
    settings = source.read()
    options = make_options({**flags, "strict_callbacks": False}, settings)
    plan.carry_out(source, settings, request, options, console)
