"""The command that checks whether the model can run here."""

import sys
from typing import TYPE_CHECKING, Any

import click

from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.checkpoint.source import ModelSource
from vita_demo.cli.command import command
from vita_demo.cli.options import FILE
from vita_demo.stdout import write_json

if TYPE_CHECKING:
    from vita_demo.console import Console


@command(
    click.option("--model_path", default=EMBEDDED, show_default=True, help="A checkpoint's folder or hub id."),
    click.option("--vision_tower", type=FILE, help="Folder of the vision encoder's settings."),
    click.option("--audio_encoder", type=FILE, help="Folder of the audio encoder's settings."),
    click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object."),
)
def doctor(console: "Console", **flags: Any) -> None:  # noqa: ARG001 - every command gets one
    """Check whether the model can run here: software, memory, the checkpoint's files, media.

    No weights are loaded and nothing is downloaded.  Exit code 1 means that there is a problem.
    """
    from vita_demo.commands.doctor.diagnosis import diagnose
    from vita_demo.commands.doctor.view import show_diagnosis

    source = ModelSource(flags["model_path"], flags["vision_tower"], flags["audio_encoder"])
    diagnosis = diagnose(source, flags["debug"])
    if flags["as_json"]:
        write_json(diagnosis.to_dict())
    else:
        show_diagnosis(diagnosis)
    sys.exit(0 if diagnosis.can_run else 1)
