"""Features at the size of what the language model reads beside them."""

import torch
from torch import Tensor, nn

_NORM = 8.0


def calm(last: nn.Linear, features: Tensor) -> float:
    """Shrink what ``last`` puts out; return by how much.

    The encoders' first lessons make features up to a hundred times as long as a token's embedding; what the language
    model's layers add to them would then hardly change where they point.

    Args:
        last: the layer that puts out the features; changed in place.
        features: [..., D], some of what it puts out.
    """
    factor = _NORM / float(features.detach().float().norm(dim=-1).mean())
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(factor)
    return factor
