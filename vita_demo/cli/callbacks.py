"""The command that lists the callbacks."""

import click

from vita_demo.cli.options import SETTINGS


@click.command(context_settings=SETTINGS)
def callbacks() -> None:
    """List the callbacks and their options."""
    from vita_demo.callbacks.registry import describe

    click.echo(describe())
