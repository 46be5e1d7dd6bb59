"""The default command: ask, and watch the answer."""

from typing import TYPE_CHECKING, Any

import click

from vita_demo.cli.command import command
from vita_demo.cli.options import (
    EXAMPLES,
    generation_options,
    make_options,
    make_request,
    make_source,
    media_options,
    model_options,
    output_options,
)
from vita_demo.cli.presets import read_preset
from vita_demo.errors import InputError

if TYPE_CHECKING:
    from vita_demo.console import Console

_DEFAULT_CALLBACKS = ("progress", "performance")


@command(
    media_options,
    model_options,
    generation_options,
    output_options,
    click.option(
        "--config",
        is_eager=True,
        expose_value=False,
        callback=read_preset,
        metavar="NAME_OR_FILE",
        help="Take the values of a preset; flags and environment variables win.",
    ),
    epilog=EXAMPLES,
)
def run(console: "Console", **flags: Any) -> None:
    """Ask VITA-1.5 about a picture, a video or a voice, and watch it answer.

    Without --model_path a miniature runs that ships with the package.

    \b
    Other commands, each with its own --help:
      chat       talk in turns
      compare    answer in several ways and compare them
      inspect    see what the model would see
      batch      answer every row of a folder or a table
      serve      give the model to others, over HTTP
      doctor     check whether the model can run here
      replay     repeat a saved run
      callbacks  list the callbacks
    """  # noqa: D301 - click wants the character
    request = make_request(flags)
    form = _form(flags)

    from vita_demo.commands.run.demo import Demo

    callbacks = flags["callback"] or (_DEFAULT_CALLBACKS if flags["enable_callbacks"] else ())
    source = make_source(flags)
    settings = source.read()
    options = make_options(flags, settings)
    saving = flags["save_run"], flags["overwrite"]
    Demo(source, settings, console, form, flags["show_state"], callbacks, *saving).run(request, options)


def _form(flags: dict[str, Any]) -> str:
    asked = [form for form in ("jsonl", "json", "markdown") if flags[f"as_{form}"]]
    if len(asked) > 1:
        raise InputError(f"--{asked[0]} and --{asked[1]} were both given; choose one form of the answer")
    return asked[0] if asked else "live" if flags["streaming"] else "text"
