"""The command that talks in turns."""

from typing import TYPE_CHECKING, Any

import click

from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import FILE, generation_options, make_options, make_source, model_options

if TYPE_CHECKING:
    from vita_demo.console import Console

chat_options = option_group(
    "Chat",
    click.option("--system", help="A system prompt instead of the model's own."),
    click.option("--load", type=FILE, help="Go on with a conversation that /save wrote."),
)


@command(chat_options, model_options, generation_options)
def chat(console: "Console", **flags: Any) -> None:
    """Talk with VITA-1.5 in turns, about pictures, videos and sounds that it remembers.

    Each turn computes only what is new.  `/help` in the chat lists its commands.
    """
    from vita_demo.commands.chat.chat import begin_chat, run_chat

    source = make_source(flags, console)
    saved = begin_chat(flags["system"], flags["load"])
    settings = source.read()
    run_chat(source, settings, saved, make_options(flags, settings), console, debug=flags["debug"])
