"""Where and how the lessons compute: on a GPU where there is one, and in the precision that is faster."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def precision() -> torch.dtype:
    """Return the type in which matrix products are faster here.

    A CPU without instructions for bfloat16 emulates it and is several times slower than in float32; one that has them
    is several times faster.  So both are tried.
    """
    if DEVICE.type == "cuda":
        return torch.bfloat16
    return min((torch.float32, torch.bfloat16), key=_seconds)


def _seconds(dtype: torch.dtype) -> float:
    """Return how long a product takes, the best of some."""
    rows, matrix = torch.randn(2048, 192).to(dtype), torch.randn(192, 768).to(dtype)
    taken = []
    for _ in range(8):
        start = time.perf_counter()
        rows @ matrix
        taken.append(time.perf_counter() - start)
    return min(taken)


@contextmanager
def half_precision() -> Iterator[None]:
    """Compute matrix products in bfloat16 where that is faster."""
    attention = plain_attention() if DEVICE.type == "cpu" else nullcontext()
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision() == torch.bfloat16), attention:
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
