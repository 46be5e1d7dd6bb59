"""Which processors are there, and how much memory does each have?"""

import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vita_demo.commands.doctor.finding import Finding

GROUP = "Devices"
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Device:
    """Where the model could run.

    Attributes:
        name: as --device takes it: "cpu" or "cuda:N".
        description: what it is, for people.
        total_bytes: its memory.
        free_bytes: what of it is free now.
    """

    name: str
    description: str
    total_bytes: int
    free_bytes: int


def check_devices(devices: tuple[Device, ...], warned: tuple[str, ...]) -> Iterator[Finding]:
    """Describe every device; ``warned`` is what torch said while it looked for GPUs."""
    for device in devices:
        memory = f"{device.free_bytes / 1e9:.1f} of {device.total_bytes / 1e9:.1f} GB free"
        yield Finding(GROUP, "ok", f"{device.name}: {device.description}, {memory}")
    for line in warned:
        yield Finding(GROUP, "note", line, "the GPU stays unused until this is solved; without it the CPU works")
    if len(devices) == 1 and not warned and shutil.which("nvidia-smi"):
        yield Finding(
            GROUP, "note", "torch sees no CUDA device, though a driver is installed",
            "install a CUDA build of torch (https://pytorch.org/get-started), or run on the CPU",
        )  # fmt: skip


def find_devices() -> tuple[tuple[Device, ...], tuple[str, ...]]:
    """Return the CPU and every CUDA device, and what torch warned of on the way, one line each."""
    import torch

    devices = [_cpu()]
    warned: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            try:
                free, total = torch.cuda.mem_get_info(index)
            except RuntimeError as error:
                warned.append(f"cuda:{index} does not answer: {str(error).splitlines()[0]}")
            else:
                devices.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), total, free))
    warned += [str(warning.message).strip().splitlines()[0] for warning in caught]
    return tuple(devices), tuple(warned)


def _cpu() -> Device:
    from vita_demo.engine.device import physical_memory_bytes

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    total = physical_memory_bytes()
    free = _value(Path("/proc/meminfo"), "MemAvailable:", 1024) or total
    limit = _container_limit_bytes()
    if limit is not None:
        # What the container's files fill is given back when memory is asked for.
        used = _value(_CGROUP / "memory.stat", "anon", 1) or 0
        total, free = min(total, limit), min(free, max(0, limit - used))
    return Device("cpu", f"{cores} cores", total, free)


def _value(path: Path, key: str, unit_bytes: int) -> int | None:
    """Read a figure of one of Linux's tables of memory; None where there is no such table."""
    try:
        words = (line.split() for line in path.read_text().splitlines())
    except OSError:
        return None
    return next((int(line[1]) * unit_bytes for line in words if line[0] == key), None)


def _container_limit_bytes() -> int | None:
    try:
        text = (_CGROUP / "memory.max").read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
