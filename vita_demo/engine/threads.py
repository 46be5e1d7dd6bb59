"""How many threads compute on the CPU: one for each physical core that this process may use."""

import torch

from vita_demo.cores import physical_cores
from vita_demo.errors import InputError


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
