"""Runs all checks, in the order of the report; one that fails stops none of the others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.locate import RELEASED
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor import folder, media, software
from vita_demo.commands.doctor.finding import Finding
from vita_demo.resources import resource

if TYPE_CHECKING:
    from vita_demo.commands.doctor.devices import Device
    from vita_demo.commands.doctor.memory import MemoryTable

SCHEMA_VERSION = 1

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Diagnosis:
    """The result of all checks.

    Attributes:
        findings: in the order of the report.
        memory: needs and devices; None where the model's size is unknown.
    """

    findings: tuple[Finding, ...]
    memory: "MemoryTable | None"

    @property
    def can_run(self) -> bool:
        """No finding is a problem."""
        return all(finding.level != "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as written to JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "can_run": self.can_run,
            "findings": [vars(finding) for finding in self.findings],
            "memory": self.memory and self.memory.to_dict(),
        }


def diagnose(source: ModelSource, debug: bool = False) -> Diagnosis:
    """Run every check; with ``debug`` an unexpected error in a check is raised instead of becoming a finding."""
    checks = _Checks(source, debug)
    table = checks.run_all()
    return Diagnosis(tuple(checks.findings), table)


@dataclass(frozen=True)
class _Checks:
    source: ModelSource
    debug: bool
    findings: list[Finding] = field(default_factory=list)

    def run_all(self) -> "MemoryTable | None":
        """Run the checks of all groups and return the memory table."""
        self._run(software.GROUP, software.check_software)
        table = self._run(software.GROUP, self._check_with_torch)
        self._run(media.GROUP, media.check_media)
        return table

    def _check_with_torch(self, _: list[Finding]) -> "MemoryTable | None":
        """Check devices and checkpoint; where torch is missing or broken, its import is the finding."""
        from vita_demo.commands.doctor import devices, files, memory

        processors = self._run(devices.GROUP, devices.check_devices) or ()
        path = self._run(folder.GROUP, folder.check_folder, self.source)
        if path is not None:
            return self._check_checkpoint(path, processors)
        if self.source.model_path != RELEASED:
            return None
        config = VitaConfig.from_pretrained(resource("configs", "vita15"))
        return self._run(memory.GROUP, memory.check_memory, config, files.Weights(), processors)

    def _check_checkpoint(self, path: Path, processors: "tuple[Device, ...]") -> "MemoryTable | None":
        from vita_demo.commands.doctor import configuration, files, memory, tensors

        self._run(folder.GROUP, files.check_small_files, path, self.source)
        weights = self._run(folder.GROUP, files.check_weight_files, path, self.source) or files.Weights()
        config = self._run(configuration.GROUP, configuration.check_config, path, self.source)
        vocab_size = self._run(configuration.GROUP, configuration.check_tokenizer, path, self.source)
        if config is None:
            return None
        fetch = folder.fetch_command(self.source, path, again=True)
        self._run(tensors.GROUP, tensors.check_tensors, path, config, vocab_size, weights, fetch)
        return self._run(memory.GROUP, memory.check_memory, config, weights, processors)

    def _run(
        self,
        group: str,
        check: Callable[Concatenate[list[Finding], Arguments], Value],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Value | None:
        """Let ``check`` add its findings; an unexpected error becomes one too, so that the other checks still run."""
        try:
            return check(self.findings, *arguments, **keywords)
        except Exception as error:
            if self.debug:
                raise
            text = f"this check failed: {type(error).__name__}: {' '.join(str(error).split())}"
            self.findings.append(
                Finding(group, "problem", text, "give --debug to see where, and report it with the traceback")
            )
            return None
