"""Checks which processors torch can use, and how much memory each has."""

import os
import platform
import shutil
import subprocess
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vita_demo.commands.doctor.finding import Finding
from vita_demo.cores import sharing
from vita_demo.engine.device import physical_memory_bytes
from vita_demo.engine.threads import use_threads
from vita_demo.model.ops.cpu_profile import cpu_profile

GROUP = "Devices"
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Device:
    """A processor that the model can run on.

    Attributes:
        name: as --device takes it: "cpu" or "cuda:N".
        description: for the report.
        total_bytes: its memory.
        free_bytes: the part of it that is free now.
    """

    name: str
    description: str
    total_bytes: int
    free_bytes: int


def check_devices(findings: list[Finding]) -> tuple[Device, ...]:
    """Return every device, the CPU first; report the CPU's profile and what keeps a GPU from being used."""
    devices, warning_lines = find_devices()
    for device in devices:
        memory = f"{device.free_bytes / 1e9:.1f} of {device.total_bytes / 1e9:.1f} GB free"
        findings.append(Finding(GROUP, "ok", f"{device.name}: {device.description}, {memory}"))
    use_threads()  # for which the CPU's profile is measured, as a run does
    findings.append(Finding(GROUP, "ok", f"CPU profile: {cpu_profile().describe()}"))
    fix = "the GPU stays unused until this is solved; without it the CPU works"
    findings += [Finding(GROUP, "note", line, fix) for line in warning_lines]
    if sharing():
        findings.append(Finding(GROUP, "note", sharing(), "answers are faster when these processes have ended"))
    if len(devices) == 1 and not warning_lines and shutil.which("nvidia-smi"):
        text = "torch sees no CUDA device, though a driver is installed"
        fix = "install a CUDA build of torch (https://pytorch.org/get-started), or run on the CPU"
        findings.append(Finding(GROUP, "note", text, fix))
    return devices


def find_devices() -> tuple[tuple[Device, ...], tuple[str, ...]]:
    """Return the CPU and every CUDA device, and torch's warnings while it looked for them, one line each."""
    devices = [_cpu()]
    warning_lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            try:
                free, total = torch.cuda.mem_get_info(index)
            except RuntimeError as error:
                warning_lines.append(f"cuda:{index} does not answer: {str(error).splitlines()[0]}")
            else:
                devices.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), total, free))
    warning_lines += [str(warning.message).strip().splitlines()[0] for warning in caught]
    return tuple(devices), tuple(warning_lines)


def describe_processor(device: torch.device) -> dict[str, Any]:
    """Say which processor computes, and by which driver or arithmetic, as written to JSON."""
    host: dict[str, Any] = {"platform": platform.platform(), "cores": os.cpu_count()}
    if device.type == "cpu":
        profile = cpu_profile()
        return {**host, "threads": torch.get_num_threads(), "cpu_profile": profile.to_dict()}
    properties = torch.cuda.get_device_properties(device)
    return {
        **host,
        "gpu": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "gpu_memory_bytes": properties.total_memory,
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def _driver() -> str | None:
    """Return the version of NVIDIA's driver; None where nobody tells."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.partition("\n")[0].strip()


def _cpu() -> Device:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    total = physical_memory_bytes()
    free = 1024 * _value(Path("/proc/meminfo"), "MemAvailable:") or total
    limit = _text(_CGROUP / "memory.max").strip()
    if limit.isdigit():
        # Only anonymous memory counts: the kernel gives the page cache back when memory is needed.
        used = _value(_CGROUP / "memory.stat", "anon")
        total, free = min(total, int(limit)), min(free, max(0, int(limit) - used))
    return Device("cpu", f"{cores} cores", total, free)


def _value(path: Path, key: str) -> int:
    """Read one value of /proc/meminfo or of a cgroup's memory.stat; 0 where there is none."""
    words = (line.split() for line in _text(path).splitlines())
    return next((int(line[1]) for line in words if line[0] == key), 0)


def _text(path: Path) -> str:
    """Read a file of the kernel; empty where it cannot be read."""
    with suppress(OSError):
        return path.read_text()
    return ""
