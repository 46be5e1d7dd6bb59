"""The command that checks whether the model can run here."""

import sys
from typing import TYPE_CHECKING, Any

import click

from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.checkpoint.shapes import SHAPES
from vita_demo.checkpoint.source import ModelSource
from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import FILE
from vita_demo.stdout import write_json

if TYPE_CHECKING:
    from vita_demo.console import Console

_check_options = option_group(
    "What is checked",
    click.option("--model_path", default=EMBEDDED, show_default=True, help="A checkpoint's folder or hub id."),
    click.option("--vision_tower", type=FILE, help="Folder of the vision encoder's settings."),
    click.option("--audio_encoder", type=FILE, help="Folder of the audio encoder's settings."),
)
_self_test_options = option_group(
    "Self-test",
    click.option("--self_test", is_flag=True, help="Instead, compare and time every decode path, with random weights."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16 or bfloat16."),
    click.option("--shape", type=click.Choice(SHAPES), help="By default vita15 on a GPU, and tiny on a CPU."),
)


@command(
    _check_options,
    _self_test_options,
    click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object."),
)
def doctor(console: "Console", **flags: Any) -> None:  # noqa: ARG001 - every command gets one
    """Check whether the model can run here: software, memory, the checkpoint's files, media.

    No weights are loaded and nothing is downloaded.  Exit code 1 means that there is a problem.
    """
    sys.exit(0 if (_self_test if flags["self_test"] else _diagnose)(flags) else 1)


def _diagnose(flags: dict[str, Any]) -> bool:
    from vita_demo.commands.doctor.diagnosis import diagnose
    from vita_demo.commands.doctor.view import show_diagnosis

    source = ModelSource(flags["model_path"], flags["vision_tower"], flags["audio_encoder"])
    diagnosis = diagnose(source, flags["debug"])
    if flags["as_json"]:
        write_json(diagnosis.to_dict())
    else:
        show_diagnosis(diagnosis)
    return diagnosis.can_run


def _self_test(flags: dict[str, Any]) -> bool:
    from vita_demo.commands.doctor.self_test import begin_self_test, choose_subject, run_self_test
    from vita_demo.commands.doctor.self_test_view import SelfTestTable
    from vita_demo.console.rich_consoles import stderr_console, stdout_console

    source = ModelSource(device=flags["device"], dtype=flags["dtype"])
    subject = choose_subject(source, flags["shape"])
    test = begin_self_test(subject)
    table = SelfTestTable(stderr_console() if flags["as_json"] else stdout_console(), subject.device.type == "cuda")
    table.begin(test)
    run_self_test(test, table.show, flags["debug"])
    table.end(test)
    if flags["as_json"]:
        write_json(test.to_dict())
    return test.agrees
