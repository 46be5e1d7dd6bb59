"""The default command: ask, and watch the answer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import (
    EXAMPLES,
    generation_options,
    given_options,
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
    from vita_demo.commands.run.answerer import Answerer
    from vita_demo.console import Console
    from vita_demo.generation.options import GenerationOptions

_NOT_SERVED = ("model_path", "model_base", "model_type", "conv_mode", "vision_tower", "audio_encoder", "device",
               "dtype", "quantize", "threads", "engine", "num_beams", "speculate", "frame_cat", "save_run")  # fmt: skip
"""Flags that a server has chosen for, or that it cannot carry out."""
_SERVED = ("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
           "min_new_tokens", "time_limit_s", "seed")  # fmt: skip
_DEFAULT_CALLBACKS = ("progress", "performance")


@command(
    media_options,
    model_options,
    generation_options,
    output_options,
    option_group(
        "Elsewhere",
        click.option("--server", metavar="URL", help="Ask the model that vita-demo serve has loaded at this address."),
    ),
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
    answerer, options = _served(flags) if flags["server"] else _local(flags)
    saving = flags["save_run"], flags["overwrite"]
    Demo(answerer, console, form, flags["show_state"], callbacks, *saving).run(request, options)


def _local(flags: Mapping[str, Any]) -> "tuple[Answerer, GenerationOptions]":
    from vita_demo.commands.run.local_model import LocalModel

    source = make_source(flags)
    settings = source.read()
    return LocalModel(source, settings), make_options(flags, settings)


def _served(flags: Mapping[str, Any]) -> "tuple[Answerer, GenerationOptions]":
    """Refuse what a server cannot be asked for; the checkpoint's defaults for the rest are known there."""
    from vita_demo.commands.run.served_model import ServedModel
    from vita_demo.generation.options import GenerationOptions

    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
        if option.name in _NOT_SERVED and given:
            raise InputError(f"{option.opts[0]} does not go with --server {flags['server']}; leave one of them out")
    asked = {name: flags[name] for name in _SERVED}
    asked |= {"max_completion_tokens": flags["max_new_tokens"], "stop": [*flags["stop_strings"]] or None}
    asked = {name: value for name, value in asked.items() if value is not None}
    return ServedModel(flags["server"], asked), GenerationOptions.resolve({}, **given_options(flags))


def _form(flags: dict[str, Any]) -> str:
    asked = [form for form in ("jsonl", "json", "markdown") if flags[f"as_{form}"]]
    if len(asked) > 1:
        raise InputError(f"--{asked[0]} and --{asked[1]} were both given; choose one form of the answer")
    return asked[0] if asked else "live" if flags["streaming"] else "text"
