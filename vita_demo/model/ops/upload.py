"""Copies from the host to the device."""

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy ``tensor`` to the device; to a GPU asynchronously, out of pinned memory.

    Work that is launched on the same stream afterwards waits for the copy.  Not run on a GPU yet.
    """
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
