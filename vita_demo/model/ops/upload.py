"""Tensors from the host to the device without waiting."""

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring ``tensor`` to the device; to a GPU from pinned memory, so that the copy runs beside what the host does.

    What the GPU is given afterwards comes after the copy by itself.  Not run on a GPU yet.
    """
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
