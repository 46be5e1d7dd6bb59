"""The processor's cores: how many this process may compute on, and how its threads wait for each other there."""

import os
import sys
import time
from math import ceil
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_LOAD = Path("/proc/loadavg")
_SPINS = "1000"
"""About 10 µs, which bridges most gaps between two products; OpenMP's own number takes milliseconds."""
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_LOOKS, _BETWEEN_S = 3, 0.001
_sharing: list[str] = []


def physical_cores() -> int:
    """Count the cores that this process may run on, two hardware threads of one as one, within a container's share."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:
        return os.cpu_count() or 1
    cores = {_read(_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list") or cpu for cpu in allowed}
    quota_us, _, period_us = _read(_QUOTA).partition(" ")
    share = ceil(int(quota_us) / int(period_us)) if quota_us.isdigit() else len(cores)
    return min(len(cores), share)


def share_cores() -> None:
    """Let OpenMP's threads sleep soon when they wait for each other, if other processes want the cores now.

    A thread that waits computes in a loop for milliseconds.  Where there are more threads than cores, that takes the
    core from the one that it waits for.  Sleeping costs a little on a quiet machine, where nothing is changed, nor
    where the environment says how to wait.  It must be called before torch is imported.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _WAITING):
        others = min(_others() for _ in range(_LOOKS))
        if others and others + physical_cores() > (os.cpu_count() or 1):
            os.environ["GOMP_SPINCOUNT"] = _SPINS
            _sharing.append(f"other processes compute, so threads sleep soon when they wait (GOMP_SPINCOUNT={_SPINS})")


def sharing() -> str:
    """Say in a line that ``share_cores`` lets threads sleep soon; empty where it does not."""
    return "".join(_sharing)


def _others() -> int:
    """Count the threads of the machine that run or could run now, without this one."""
    time.sleep(_BETWEEN_S)
    running = _read(_LOAD).split("/")[0].rpartition(" ")[2]
    return int(running) - 1 if running.isdigit() else 0


def _read(path: Path) -> str:
    """Read one line of what the system tells; empty where it does not."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
