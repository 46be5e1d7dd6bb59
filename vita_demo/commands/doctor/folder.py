"""Finds the checkpoint's folder, and the command that fetches what it lacks."""

from pathlib import Path

from vita_demo.checkpoint.locate import EMBEDDED, RELEASED, config_folder, is_hub_id, locate_folder
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import VitaDemoError

GROUP = "Checkpoint"
_RESTORE = (
    "the embedded model ships with vita-demo: restore it in a git checkout with git restore assets/vita-tiny, "
    "or install vita-demo again with pip install --force-reinstall --no-deps . in its source folder"
)


def check_folder(findings: list[Finding], source: ModelSource) -> Path | None:
    """Return the checkpoint's folder on this machine; None when there is none."""
    try:
        location = locate_folder(source.model_path, download=False)
    except VitaDemoError as error:
        findings.append(Finding.from_error(GROUP, error))
        return None
    folder = config_folder(location) or location
    flag = "" if source.model_path in (EMBEDDED, str(folder)) else f" (--model_path {source.model_path})"
    findings.append(Finding(GROUP, "ok", f"{folder}{flag}"))
    return folder


def fetch_command(source: ModelSource, folder: Path, file: str = "", again: bool = False) -> str:
    """Return the command that fetches into ``folder`` one ``file``, or all that is missing.

    Args:
        source: the checkpoint; any folder is taken for a copy of the released one.
        folder: its folder on this machine.
        file: a name in the repository; empty for every missing file.
        again: replace what is there.
    """
    if source.model_path == EMBEDDED:
        return _RESTORE
    hub = is_hub_id(source.model_path)
    words = ("hf download", source.model_path if hub else RELEASED, file, "" if hub else f"--local-dir {folder}",
             "--force-download" if again else "")  # fmt: skip
    return " ".join(word for word in words if word)
