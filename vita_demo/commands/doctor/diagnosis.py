"""All checks, in the order of the report; one that fails stops none of the others."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.locate import RELEASED
from vita_demo.commands.doctor.devices import GROUP as DEVICES
from vita_demo.commands.doctor.devices import Device, check_devices, find_devices
from vita_demo.commands.doctor.files import Weights, check_small_files, check_weight_files
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.media import GROUP as MEDIA
from vita_demo.commands.doctor.media import check_media
from vita_demo.commands.doctor.memory import GROUP as MEMORY
from vita_demo.commands.doctor.memory import MemoryTable, check_memory, count_parameters
from vita_demo.commands.doctor.settings import GROUP as SETTINGS
from vita_demo.commands.doctor.settings import check_settings, check_tokenizer
from vita_demo.commands.doctor.software import GROUP as SOFTWARE
from vita_demo.commands.doctor.software import check_software
from vita_demo.commands.doctor.source import GROUP as CHECKPOINT
from vita_demo.commands.doctor.source import Source, check_source
from vita_demo.commands.doctor.tensors import GROUP as TENSORS
from vita_demo.commands.doctor.tensors import check_tensors
from vita_demo.resources import resource

SCHEMA_VERSION = 1

Value = TypeVar("Value")
Checks = Generator[Finding, None, Value]


@dataclass(frozen=True)
class Diagnosis:
    """What all checks found.

    Attributes:
        findings: in the order of the report.
        memory: needs against devices; None where the model's size could not be found out.
    """

    findings: tuple[Finding, ...]
    memory: MemoryTable | None

    @property
    def can_run(self) -> bool:
        """No finding is a problem."""
        return all(finding.level != "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "can_run": self.can_run,
            "findings": [vars(finding) for finding in self.findings],
            "memory": self.memory and self.memory.to_dict(),
        }


def diagnose(source: Source, debug: bool = False) -> Diagnosis:
    """Run every check; with ``debug`` an unforeseen error of a check is raised instead of becoming a finding."""
    checks = _Checks(source, debug).all()
    findings: list[Finding] = []
    while True:
        try:
            findings.append(next(checks))
        except StopIteration as end:
            return Diagnosis(tuple(findings), end.value)


@dataclass(frozen=True)
class _Checks:
    source: Source
    debug: bool

    def all(self) -> Checks[MemoryTable | None]:
        """Yield the findings of all groups; return the memory table."""
        yield from self._guarded(SOFTWARE, check_software())
        devices = yield from self._guarded(DEVICES, _devices())
        folder = yield from self._guarded(CHECKPOINT, check_source(self.source))
        table = None
        if folder is not None:
            table = yield from self._checkpoint(folder, devices or ())
        elif self.source.model_path == RELEASED:
            config = VitaConfig.from_pretrained(resource("configs", "vita15"))
            table = yield from self._guarded(MEMORY, _memory(config, Weights(), devices or ()))
        yield from self._guarded(MEDIA, check_media())
        return table

    def _checkpoint(self, folder: Path, devices: tuple[Device, ...]) -> Checks[MemoryTable | None]:
        yield from self._guarded(CHECKPOINT, check_small_files(folder, self.source))
        weights = (yield from self._guarded(CHECKPOINT, check_weight_files(folder, self.source))) or Weights()
        config = yield from self._guarded(SETTINGS, check_settings(folder, self.source))
        vocab_size = yield from self._guarded(SETTINGS, check_tokenizer(folder, self.source))
        if config is None:
            return None
        fetch = self.source.fetch(folder, again=True)
        yield from self._guarded(TENSORS, check_tensors(folder, config, vocab_size, weights, fetch))
        return (yield from self._guarded(MEMORY, _memory(config, weights, devices)))

    def _guarded(self, group: str, checks: Checks[Value]) -> Checks[Value | None]:
        """Turn an error that no check foresaw into a finding, so that the other checks still run."""
        try:
            return (yield from checks)
        except Exception as error:
            if self.debug:
                raise
            text = f"this check broke off: {type(error).__name__}: {' '.join(str(error).split())}"
            yield Finding(group, "problem", text, "give --debug to see where, and report it with the traceback")
            return None


def _devices() -> Checks[tuple[Device, ...]]:
    devices, warned = find_devices()
    yield from check_devices(devices, warned)
    return devices


def _memory(config: VitaConfig, weights: Weights, devices: tuple[Device, ...]) -> Checks[MemoryTable]:
    if weights.complete:
        parameters = sum(math.prod(tensor.shape) for tensor in weights.tensors.values())
        counted_in = "the weight files' headers"
    else:
        parameters, counted_in = count_parameters(config), "the settings, as the weight files are not whole"
    table = MemoryTable.of(parameters, config, devices)
    yield from check_memory(table, config.torch_dtype, counted_in)
    return table
