"""The command that repeats a saved run."""

from pathlib import Path
from typing import Any

import click

from vita_demo.cli.options import SETTINGS


@click.command(context_settings=SETTINGS)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def replay(folder: Path, **_: Any) -> None:
    """Repeat the run that --save_run kept in DIR and compare the token ids; exit code 1 when they differ."""
    from vita_demo.console import Console

    console = Console()
    console.handle_logs()

    from vita_demo.commands.run.replay import replay as repeat

    console.note(repeat(folder))
