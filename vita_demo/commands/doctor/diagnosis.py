"""Runs all checks, in the order of the report; one that fails stops none of the others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.locate import RELEASED
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor import software
from vita_demo.commands.doctor.finding import MEMORY, Finding
from vita_demo.errors import VitaDemoError
from vita_demo.resources import resource

if TYPE_CHECKING:
    from vita_demo.commands.doctor.memory import MemoryTable

SCHEMA_VERSION = 1

Arguments = TypeVarTuple("Arguments")
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
    checks.run(software.GROUP, software.check_software)
    table = checks.run(software.GROUP, checks.check_model)
    checks.run("Media", checks.check_media)
    return Diagnosis(tuple(checks.findings), table)


@dataclass(frozen=True)
class _Checks:
    source: ModelSource
    debug: bool
    findings: list[Finding] = field(default_factory=list)

    def check_model(self, _: list[Finding]) -> "MemoryTable | None":
        """Check devices, checkpoint and memory; where torch is missing or broken, its import is the finding."""
        from vita_demo.commands.doctor import checkpoint, devices, memory

        source, weights = self.source, checkpoint.Weights()
        config: VitaConfig | None = None
        processors = self.run(devices.GROUP, devices.check_devices) or ()
        path = self.run(checkpoint.FILES, checkpoint.check_folder, source)
        if path is not None:
            self.run(checkpoint.FILES, checkpoint.check_small_files, path, source)
            weights = self.run(checkpoint.FILES, checkpoint.check_weight_files, path, source) or weights
            config = self.run(checkpoint.SETTINGS, checkpoint.check_config, path, source)
            vocab_size = self.run(checkpoint.SETTINGS, checkpoint.check_tokenizer, path, source)
            if config is not None:
                fetch = checkpoint.fetch_command(source, path, again=True)
                self.run(checkpoint.TENSORS, checkpoint.check_tensors, path, config, vocab_size, weights, fetch)
        elif source.model_path == RELEASED:
            config = VitaConfig.from_pretrained(resource("configs", "vita15"))
        return None if config is None else self.run(MEMORY, memory.check_memory, config, weights, processors)

    def check_media(self, findings: list[Finding]) -> None:
        """Read the sample media; where a reader's library is missing, its import is the finding."""
        from vita_demo.commands.doctor.media import check_media

        check_media(findings)

    def run(
        self, group: str, check: Callable[[list[Finding], *Arguments], Value], *arguments: *Arguments
    ) -> Value | None:
        """Let ``check`` add its findings; an error becomes one too, so that the other checks still run."""
        try:
            return check(self.findings, *arguments)
        except VitaDemoError as error:
            # The message says what is wrong and, after its last semicolon, what to do.
            text, semicolon, fix = " ".join(str(error).split()).rpartition("; ")
            self.findings.append(Finding(group, "problem", text or fix, fix if semicolon else None))
        except Exception as error:
            if self.debug:
                raise
            text = f"this check failed: {type(error).__name__}: {' '.join(str(error).split())}"
            fix = "give --debug to see where, and report it with the traceback"
            self.findings.append(Finding(group, "problem", text, fix))
        return None
