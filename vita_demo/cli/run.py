"""The default command: ask, and watch the answer."""

from typing import Any

import click

from vita_demo.checkpoint.locate import EMBEDDED, NOTICE
from vita_demo.cli.options import (
    EXAMPLES,
    SETTINGS,
    GroupedCommand,
    check_model_type,
    generation_options,
    make_options,
    make_request,
    media_options,
    model_options,
    output_options,
)
from vita_demo.cli.presets import read_preset


@click.command(cls=GroupedCommand, context_settings=SETTINGS, epilog=EXAMPLES)
@media_options
@model_options
@generation_options
@output_options
@click.option(
    "--config",
    is_eager=True,
    expose_value=False,
    callback=read_preset,
    metavar="NAME_OR_FILE",
    help="Take the values of a preset; flags and environment variables win.",
)
def run(**flags: Any) -> None:
    """Ask VITA-1.5 about a picture, a video or a voice, and watch it answer.

    Without --model_path a miniature runs that ships with the package.

    \b
    Other commands, each with its own --help:
      chat       talk in turns
      compare    answer in several ways and compare them
      inspect    see what the model would see
      doctor     check whether the model can run here
      replay     repeat a saved run
      callbacks  list the callbacks
    """  # noqa: D301 - click wants the character
    request = make_request(flags)
    check_model_type(flags)
    from vita_demo.console import Console

    console = Console(flags["quiet"], flags["verbose"])
    console.handle_logs()
    if flags["model_path"] == EMBEDDED:
        console.note(NOTICE)

    from vita_demo.commands.run.demo import Demo

    Demo(flags, console).run(request, lambda settings: make_options(flags, settings))
