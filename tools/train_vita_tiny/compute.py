"""Where and how the lessons compute: in bfloat16, on a GPU where there is one, with attention that suits a CPU."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def half_precision() -> Iterator[None]:
    """Compute matrix products in bfloat16."""
    attention = plain_attention() if DEVICE.type == "cpu" else nullcontext()
    with torch.autocast(DEVICE.type, torch.bfloat16), attention:
        yield


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let the encoders write their attention out.

    On a CPU, for short sequences, two batched products and a softmax take a quarter of the time that torch's fused
    attention and its backward pass take.
    """
    with mock.patch.object(functional, "scaled_dot_product_attention", attend):
        yield


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, **_: Any) -> Tensor:
    """Attend from [..., S, head_dim] over [..., T, head_dim], without a mask."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return torch.softmax(query * scale @ key.transpose(-1, -2), dim=-1) @ value
