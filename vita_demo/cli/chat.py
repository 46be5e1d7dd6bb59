"""The command that talks in turns."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import (
    FILE,
    generation_options,
    make_options,
    make_source,
    model_options,
    typed_file,
    url_options,
)

if TYPE_CHECKING:
    from vita_demo.console import Console

chat_options = option_group(
    "Chat",
    click.option("--system", help="A system prompt instead of the model's own."),
    click.option("--load", type=FILE, help="Go on with a conversation that /save wrote."),
)


@command(chat_options, option_group("Where files come from", *url_options), model_options, generation_options)
def chat(console: "Console", **flags: Any) -> None:
    """Talk with VITA-1.5 in turns, about pictures, videos and sounds that it remembers.

    Each turn computes only what is new.  `/help` in the chat lists its commands.
    """
    from vita_demo.commands.chat.chat import begin_chat, run_chat

    source = make_source(flags)
    saved = begin_chat(flags["system"], flags["load"])
    fetch = partial(typed_file, flags=flags)
    run_chat(source, saved, partial(make_options, flags), console, fetch=fetch, debug=flags["debug"])
