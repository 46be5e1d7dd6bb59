"""Diagnoses of folders, and what to look for in them."""

from pathlib import Path

from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor.devices import Device
from vita_demo.commands.doctor.diagnosis import Diagnosis, diagnose


def diagnose_folder(folder: Path, **towers: Path) -> Diagnosis:
    return diagnose(ModelSource(str(folder), **towers), debug=True)


def problems(diagnosis: Diagnosis) -> list[str]:
    return [finding.text for finding in diagnosis.findings if finding.level == "problem"]


def texts(diagnosis: Diagnosis, group: str) -> str:
    return "\n".join(finding.text for finding in diagnosis.findings if finding.group == group)


def device(free_bytes: float, name: str = "cpu") -> Device:
    return Device(name, "a device", int(free_bytes), int(free_bytes))
