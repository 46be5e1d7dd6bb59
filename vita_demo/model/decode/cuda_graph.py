"""CUDA graphs: the kernels of a call are recorded once and then launched all together.

Nothing here has run on a GPU yet.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

Call = Callable[[], object]


def make_capture(device: torch.device) -> Callable[[Call], Call]:
    """Return a function that captures a call and returns its replay; all its graphs share one memory pool.

    The call must write its results to tensors that exist already, and must have run once: kernels are chosen and loaded
    at their first launch, and that cannot be captured.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return partial(_capture, stream, torch.cuda.graph_pool_handle())


def _capture(stream: torch.cuda.Stream, pool: Any, call: Call) -> Call:
    graph = torch.cuda.CUDAGraph()
    # Thread-local, so that other threads may use the GPU during the capture.
    with (
        torch.cuda.device(stream.device),
        torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
    ):
        call()
    return graph.replay
