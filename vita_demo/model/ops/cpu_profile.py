"""Which arithmetic this CPU is faster with: measured once per machine and kept in the cache folder.

The alternatives round differently, so a choice that changed from run to run could change which of two nearly equal
tokens is the likelier.  The first run that needs a choice measures it, and every later run takes it over, however busy
the machine is by then.  A saved run carries its profile, so that a replay on another machine computes in the same way:
see ``use_cpu_profile``.
"""

import json
import logging
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any

import torch

from vita_demo import __version__
from vita_demo.errors import InputError
from vita_demo.resources import cache_folders

logger = logging.getLogger("vita_demo.model.ops.cpu_profile")

FILE_NAME = "cpu_profile.json"
_CPUINFO = Path("/proc/cpuinfo")


def _choice(yes: str, no: str) -> Any:
    """Declare a choice that has not been measured, with the words of ``describe`` for either outcome."""
    return field(default=None, metadata={"words": (yes, no)})


@dataclass(frozen=True)
class CpuProfile:
    """The choices that were measured on one machine.  One that no run has needed yet is None.

    Attributes:
        machine: what the choices hold for: processor, thread count and versions; see ``machine_key``.
        measured_s: by name of the choice, the seconds of its first and of its second alternative.
        gemv_bypasses_onednn: bfloat16 weight times one vector by torch's own loop, else by oneDNN.
        bfloat16_gemm_in_float32: bfloat16 weight times many vectors in float32, block by block, else in bfloat16.
        gemv_stripes_small: a float32 matrix that fits a core's cache times one vector on all threads, else on one.
        decodes_bfloat16: large models whose dtype is "auto" in bfloat16, else in float32.
        int8_by_numba: int8 weight times a few vectors by the package's kernel, else by torch's.
        int4_by_numba: the same for int4.
    """

    machine: str = ""
    measured_s: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gemv_bypasses_onednn: bool | None = _choice("bfloat16 GEMV without oneDNN", "bfloat16 GEMV with oneDNN")
    bfloat16_gemm_in_float32: bool | None = _choice("bfloat16 GEMM in float32", "bfloat16 GEMM in bfloat16")
    gemv_stripes_small: bool | None = _choice("small GEMV on all threads", "small GEMV on one thread")
    decodes_bfloat16: bool | None = _choice("large models in bfloat16", "large models in float32")
    int8_by_numba: bool | None = _choice("int8 GEMV by Numba", "int8 GEMV by torch")
    int4_by_numba: bool | None = _choice("int4 GEMV by Numba", "int4 GEMV by torch")

    @property
    def choices(self) -> dict[str, bool]:
        """The choices that have been measured, by name."""
        return {name: choice for name in CHOICES if (choice := getattr(self, name)) is not None}

    def describe(self) -> str:
        """Describe the choices in one line, for ``--verbose`` and ``doctor``."""
        words = [CHOICES[name][0 if choice else 1] for name, choice in self.choices.items()]
        return f"{self.machine or 'any machine'}: {', '.join(words) or 'nothing measured yet'}"

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as a JSON object: the machine, one boolean a choice, and the seconds behind them."""
        measured_s = {name: list(seconds) for name, seconds in self.measured_s.items()}
        return {"machine": self.machine, **self.choices, "measured_s": measured_s}

    @classmethod
    def from_dict(cls, values: Any) -> "CpuProfile":
        """Read what ``to_dict`` returned; keys of other versions are ignored.

        Raises:
            InputError: when a value is of another type.
        """
        try:
            choices = {name: values[name] for name in CHOICES if name in values}
            measured_s = {
                name: (float(first), float(second))
                for name, (first, second) in values.get("measured_s", {}).items()
                if name in choices
            }
            machine = str(values.get("machine", ""))
        except (AttributeError, TypeError, ValueError):
            raise InputError(f"{values!r:.80} is no CPU profile; leave it out, and it is measured again") from None
        for name, choice in choices.items():
            if not isinstance(choice, bool):
                raise InputError(f"the CPU profile's {name} is {choice!r:.40}; give true or false")
        return cls(machine, measured_s, **choices)

    def updated(self, other: "CpuProfile") -> "CpuProfile":
        """Return this profile with the choices of ``other``, which win where both have one."""
        changes: dict[str, Any] = dict(other.choices)
        return replace(self, measured_s={**self.measured_s, **other.measured_s}, **changes)


CHOICES: Mapping[str, tuple[str, str]] = {
    choice.name: choice.metadata["words"] for choice in fields(CpuProfile) if "words" in choice.metadata
}


class ProfileStore:
    """The profile that this process uses, and the file that keeps it for the next.

    Args:
        find_folders: returns the folders that may hold the file, the best first.
    """

    def __init__(self, find_folders: Callable[[], list[Path]] = cache_folders) -> None:
        self._find_folders = find_folders
        # Measuring one choice may need another.
        self._lock = RLock()
        self._given: CpuProfile | None = None
        self._own: dict[str, CpuProfile] = {}

    def use(self, profile: CpuProfile | None) -> None:
        """Use ``profile`` from now on, whatever the machine; None returns to the machine's own."""
        self._given = profile

    def current(self) -> CpuProfile:
        """Return the profile in use, with what has been measured so far."""
        if self._given is not None:
            return self._given
        machine = machine_key(torch.get_num_threads())
        if machine not in self._own:
            self._own[machine] = self._read().get(machine, CpuProfile(machine))
        return self._own[machine]

    def choose(self, name: str, measure: Callable[[], tuple[float, float]]) -> bool:
        """Return a choice: whether its first alternative is used.  Measure and keep it if no run has yet.

        Args:
            name: of a field of ``CpuProfile``.
            measure: times both alternatives; returns the seconds of the first and of the second.
        """
        choice = getattr(self.current(), name)
        if choice is None:
            with self._lock:
                # Another thread may have measured meanwhile.
                choice = getattr(self.current(), name)
                if choice is None:
                    choice = self._add(name, *measure())
        return bool(choice)

    def _add(self, name: str, first_s: float, second_s: float) -> bool:
        choice: dict[str, Any] = {name: first_s < second_s}
        profile = self.current().updated(CpuProfile(measured_s={name: (first_s, second_s)}, **choice))
        if self._given is not None:
            self._given = profile
        else:
            profile = self._own[profile.machine] = self._write(profile)
        return bool(getattr(profile, name))

    def _read(self) -> dict[str, CpuProfile]:
        """Return the kept profiles by machine; none where the file is missing, unreadable or damaged.

        There are several where the thread count or a version has changed.
        """
        for folder in self._find_folders():
            try:
                entries = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
                profiles = [CpuProfile.from_dict(entry) for entry in entries]
                return {profile.machine: profile for profile in profiles}
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, InputError) as error:
                logger.info("%s cannot be used (%s); what it held is measured again", folder / FILE_NAME, error)
        return {}

    def _write(self, profile: CpuProfile) -> CpuProfile:
        """Keep ``profile`` for the next process; return it with what other processes kept before."""
        profiles = self._read()
        if profile.machine in profiles:
            profile = profile.updated(profiles[profile.machine])
        profiles[profile.machine] = profile
        text = json.dumps([kept.to_dict() for kept in profiles.values()], indent=1)
        for folder in self._find_folders():
            try:
                _replace_file(folder / FILE_NAME, text)
            except OSError as error:
                logger.info("cannot keep the CPU profile in %s (%s); the next run measures again", folder, error)
                continue
            break
        return profile


def _replace_file(path: Path, text: str) -> None:
    """Write a file in one step: a process that reads meanwhile sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


@cache
def machine_key(threads: int) -> str:
    """Name what a choice depends on: the processor and its instructions, the threads, torch and this package."""
    name, flags = _processor()
    instructions = sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:8]
    versions = f"torch {torch.__version__}, vita-demo {__version__}"
    return f"{name} (instructions {instructions}), {threads} threads, {versions}"


def _processor() -> tuple[str, str]:
    """Return the processor's name and the names of its instruction sets, as far as the system tells."""
    try:
        first, _, _ = _CPUINFO.read_text(encoding="utf-8").partition("\n\n")
    except (OSError, UnicodeDecodeError):
        first = ""
    lines = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    values = {name.strip(): value.strip() for name, value in lines.items()}
    flags = values.get("flags") or values.get("Features") or torch.backends.cpu.get_cpu_capability()
    return values.get("model name") or platform.processor() or platform.machine(), flags


_store = ProfileStore()
choose = _store.choose
cpu_profile = _store.current
use_cpu_profile = _store.use
