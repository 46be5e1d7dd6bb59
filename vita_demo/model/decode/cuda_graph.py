"""CUDA graphs: a call whose kernels are recorded once and from then on launched together.

Nothing here has run on a GPU yet.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

Call = Callable[[], object]


def make_capture(device: torch.device) -> Callable[[Call], Call]:
    """Return what turns a call into one that replays it; the graphs that it makes share their scratch memory.

    The call leaves its results in tensors that were there before.  It must have run once: kernels are chosen and
    loaded at their first launch, which cannot be recorded.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return partial(_capture, stream, torch.cuda.graph_pool_handle())


def _capture(stream: torch.cuda.Stream, pool: Any, call: Call) -> Call:
    graph = torch.cuda.CUDAGraph()
    # Other threads read media and print meanwhile, and may use the GPU as they like.
    with (
        torch.cuda.device(stream.device),
        torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
    ):
        call()
    return graph.replay
