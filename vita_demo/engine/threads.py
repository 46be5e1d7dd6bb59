"""How many threads compute on the CPU: one for each physical core that this process may use."""

import os
from math import ceil
from pathlib import Path

import torch

from vita_demo.errors import InputError

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def use_threads(count: int | None = None) -> None:
    """Compute on ``count`` threads from now on.

    None keeps torch's number, which OMP_NUM_THREADS or an earlier call may have set, but takes no more threads than
    there are cores: a thread too many makes all others wait for it at every product.

    Raises:
        InputError: when ``count`` is below 1.
    """
    if count is None:
        count = min(torch.get_num_threads(), physical_cores())
    if count < 1:
        raise InputError(f"--threads {count} must be at least 1; leave it out for one a core ({physical_cores()})")
    if count != torch.get_num_threads():
        torch.set_num_threads(count)


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


def _read(path: Path) -> str:
    """Read one line of what the system tells; empty where it does not."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
