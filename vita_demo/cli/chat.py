"""The command that talks in turns."""

from typing import Any

import click

from vita_demo.checkpoint.locate import EMBEDDED, NOTICE
from vita_demo.cli.options import (
    FILE,
    SETTINGS,
    GroupedCommand,
    check_model_type,
    generation_options,
    make_options,
    model_options,
    option_group,
)

chat_options = option_group(
    "Chat",
    click.option("--system", help="A system prompt instead of the model's own."),
    click.option("--load", type=FILE, help="Go on with a conversation that /save wrote."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


@click.command(cls=GroupedCommand, context_settings=SETTINGS)
@chat_options
@model_options
@generation_options
def chat(**flags: Any) -> None:
    """Talk with VITA-1.5 in turns, about pictures, videos and sounds that it remembers.

    Each turn computes only what is new.  `/help` in the chat lists its commands.
    """
    check_model_type(flags)
    from vita_demo.console import Console

    console = Console()
    console.handle_logs()
    if flags["model_path"] == EMBEDDED:
        console.note(NOTICE)

    from vita_demo.commands.chat.chat import run_chat

    run_chat(flags, console, lambda settings: make_options(flags, settings))
