"""The command that talks in turns."""

from typing import TYPE_CHECKING, Any

import click

from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import FILE, generation_options, make_options, make_source, model_options
from vita_demo.errors import ConfigError

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
    if flags["load"] is not None and flags["system"] is not None:
        raise ConfigError(f"--load {flags['load']} brings its own system prompt; leave --system out")
    from vita_demo.commands.chat.chat import run_chat
    from vita_demo.commands.chat.saved_chat import SavedChat, read_chat

    source = make_source(flags, console)
    saved = SavedChat(flags["system"]) if flags["load"] is None else read_chat(flags["load"])
    settings = source.read()
    run_chat(source, settings, saved, make_options(flags, settings), console, debug=flags["debug"])
