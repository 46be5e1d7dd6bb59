"""The command that lists the callbacks."""

from typing import TYPE_CHECKING, Any

import click

from vita_demo.cli.command import command

if TYPE_CHECKING:
    from vita_demo.console import Console


@command()
def callbacks(console: "Console", **_: Any) -> None:  # noqa: ARG001 - every command gets one
    """List the callbacks and their options."""
    from vita_demo.callbacks.registry import describe

    click.echo(describe())
