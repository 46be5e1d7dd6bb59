"""The command that repeats a saved run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vita_demo.cli.command import command
from vita_demo.cli.options import FILE

if TYPE_CHECKING:
    from vita_demo.console import Console


@command(click.argument("folder", type=FILE, metavar="DIR"))
def replay(console: "Console", folder: Path, **_: Any) -> None:
    """Repeat the run that --save_run kept in DIR and compare the token ids; exit code 1 when they differ."""
    from vita_demo.commands.run.saved_run import SavedRun

    saved = SavedRun.load(folder)
    from vita_demo.commands.run.replay import replay as repeat  # imports torch

    for name in saved.changed_media():
        console.warn(f"{name} has changed since the run was saved, so the answer may differ")
    console.note(repeat(saved))
