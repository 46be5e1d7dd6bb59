"""Which arithmetic this CPU is faster with: measured once per machine and kept in the cache folder.

The alternatives round differently, so a choice that changed from run to run could change which of two nearly equal
tokens is the likelier.  The first run that needs a choice measures it, and every later run takes it over, however busy
the machine is by then.  A saved run carries its profile, so that a replay on another machine computes in the same way.
"""

import json
import logging
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any

import torch

from vita_demo import __version__
from vita_demo.cores import sharing
from vita_demo.errors import InputError
from vita_demo.resources import cache_folders

logger = logging.getLogger("vita_demo.model.ops.cpu_profile")

FILE_NAME = "cpu_profile.json"
_CPUINFO = Path("/proc/cpuinfo")

CHOICES: Mapping[str, tuple[str, str]] = {
    "gemv_bypasses_onednn": ("bfloat16 GEMV without oneDNN", "bfloat16 GEMV with oneDNN"),
    "bfloat16_gemm_in_float32": ("bfloat16 GEMM in float32", "bfloat16 GEMM in bfloat16"),
    # Matrices that fit a core's cache.
    "gemv_stripes_small": ("small GEMV on all threads", "small GEMV on one thread"),
    "decodes_bfloat16": ("large models in bfloat16", "large models in float32"),
    "int8_by_numba": ("int8 GEMV by Numba", "int8 GEMV by torch"),
    "int4_by_numba": ("int4 GEMV by Numba", "int4 GEMV by torch"),
}
"""By name of a choice, what is done if it is true, and what if it is false."""


@dataclass(frozen=True)
class CpuProfile:
    """The choices that were measured on one machine.

    Attributes:
        machine: what the choices hold for: processor, thread count and versions; see ``machine_key``.
        choices: those of ``CHOICES`` that a run has needed.
    """

    machine: str = ""
    choices: Mapping[str, bool] = field(default_factory=dict)

    def describe(self) -> str:
        """Describe the choices in one line, for ``--verbose`` and ``doctor``."""
        words = [pair[0 if self.choices[name] else 1] for name, pair in CHOICES.items() if name in self.choices]
        return f"{self.machine or 'any machine'}: {', '.join(words) or 'nothing measured yet'}"

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as a JSON object: the machine, and one boolean a choice."""
        return {"machine": self.machine, **self.choices}

    @classmethod
    def from_dict(cls, values: Any) -> "CpuProfile":
        """Read what ``to_dict`` returned; keys of other versions are ignored.

        Raises:
            InputError: when a value is of another type.
        """
        if not isinstance(values, dict):
            raise InputError(f"{values!r:.80} is no CPU profile; leave it out, and it is measured again")
        choices = {name: values[name] for name in CHOICES if name in values}
        for name, choice in choices.items():
            if not isinstance(choice, bool):
                raise InputError(f"the CPU profile's {name} is {choice!r:.40}; give true or false")
        return cls(str(values.get("machine", "")), choices)


class ProfileStore:
    """The profile that this process uses, and the file that keeps it for the next.

    Args:
        find_folders: returns the folders that may hold the file, the best first.
        is_busy: tells whether other work disturbs what is measured now.
    """

    def __init__(
        self,
        find_folders: Callable[[], list[Path]] = cache_folders,
        is_busy: Callable[[], bool] | None = None,
    ) -> None:
        self._find_folders = find_folders
        self._is_busy = is_busy or machine_is_busy
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
            name: of ``CHOICES``.
            measure: times both alternatives; returns the seconds of the first and of the second.
        """
        if name not in self.current().choices:
            with self._lock:
                # Another thread may have measured meanwhile.
                if name not in self.current().choices:
                    self._keep(name, *measure())
        return self.current().choices[name]

    def _keep(self, name: str, first_s: float, second_s: float) -> None:
        """Add a choice to the profile in use, and if it is the machine's own to the file, where the first one stays."""
        current, choice = self.current(), first_s < second_s
        if self._given is not None:
            self._given = CpuProfile(current.machine, {**current.choices, name: choice})
            return
        profiles = self._read()
        kept = profiles.get(current.machine, current).choices
        profile = CpuProfile(current.machine, {**current.choices, name: choice, **kept})
        self._own[current.machine] = profiles[current.machine] = profile
        if self._is_busy():
            # Threads that wait for other work's can make a choice wrong by far, so it serves this process only.
            return
        text = json.dumps([profile.to_dict() for profile in profiles.values()], indent=1)
        for folder in self._find_folders():
            path, unfinished = folder / FILE_NAME, folder / f"{FILE_NAME}.{os.getpid()}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                unfinished.write_text(text, encoding="utf-8")
                # In one step: a process that reads meanwhile sees the old file or the new one.
                unfinished.replace(path)
                return
            except OSError as error:
                logger.info("cannot keep the CPU profile in %s (%s); the next run measures again", folder, error)

    def _read(self) -> dict[str, CpuProfile]:
        """Return the kept profiles by machine; none where the file is missing, unreadable or damaged.

        There are several where the thread count or a version has changed.
        """
        for folder in self._find_folders():
            try:
                entries = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
                return {profile.machine: profile for profile in map(CpuProfile.from_dict, entries)}
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, InputError) as error:
                logger.info("%s cannot be used (%s); what it held is measured again", folder / FILE_NAME, error)
        return {}


def machine_is_busy() -> bool:
    """Whether more than half of the cores have had work in the last minute; False where the system does not tell."""
    try:
        return bool(sharing()) or os.getloadavg()[0] > (os.cpu_count() or 1) / 2
    except (AttributeError, OSError):
        return False


@cache
def machine_key(threads: int) -> str:
    """Name what a choice depends on: the processor and its instructions, the threads, torch and this package."""
    try:
        first, _, _ = _CPUINFO.read_text(encoding="utf-8").partition("\n\n")
    except (OSError, UnicodeDecodeError):
        first = ""
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    flags = values.get("flags") or values.get("Features") or torch.backends.cpu.get_cpu_capability()
    name = values.get("model name") or platform.processor() or platform.machine()
    instructions = sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:8]
    versions = f"torch {torch.__version__}, vita-demo {__version__}"
    return f"{name} (instructions {instructions}), {threads} threads, {versions}"


_store = ProfileStore()
choose = _store.choose
cpu_profile = _store.current
use_cpu_profile = _store.use
