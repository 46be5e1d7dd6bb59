"""CUDA graphs: the kernels of a call are recorded once and then launched all together."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from threading import Lock
from typing import Any

import torch

logger = logging.getLogger("vita_demo.model")

Call = Callable[[], object]
Capture = Callable[[Call], Call]
"""Captures a call and returns its replay.

The call must write its results to tensors that exist already, and must have run once: kernels are chosen and loaded at
their first launch, and that cannot be captured.
"""


def capture_on(device: torch.device, *, share_memory: bool = False) -> Capture | None:
    """Return what captures calls on a GPU; None for other devices.

    Args:
        device: of the calls.
        share_memory: all captured calls have their temporaries in the same memory.  They must be replayed on one
            stream, and none may be captured after all others are gone.
    """
    if device.type != "cuda":
        return None
    return partial(_captures.capture, device, pool=torch.cuda.graph_pool_handle() if share_memory else None)


@contextmanager
def fall_back_with_warning(problem: str) -> Iterator[None]:
    """Turn any error into a warning that names the ``problem``: torch's operations without a graph always work."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - compilers raise what they like
        reason = str(error).split("\n", 1)[0]
        logger.warning("%s (%s): it runs slower", problem, reason)


class Captures:
    """All captures of the process, one at a time: beginning one waits for the device, which would break another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failed = False

    def capture(self, device: torch.device, call: Call, pool: Any = None) -> Call:
        """Capture ``call``, with its temporaries in a ``pool`` of memory, by default one of its own.

        Raises:
            RuntimeError: when it cannot be captured, or when a capture failed before in this process: torch's allocator
                may then believe that one is still under way, and every further one would end in an internal error.
        """
        with self._lock:
            if self._failed:
                raise RuntimeError("an earlier capture failed in this process")
            graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
            try:
                # Thread-local, so that other threads may use the GPU meanwhile.
                with (
                    torch.cuda.device(device),
                    torch.cuda.graph(graph, pool, _capture_stream(device), capture_error_mode="thread_local"),
                ):
                    call()
            except BaseException:
                self._failed = True
                # Where its end fails, torch leaves the thread on the stream of the capture.
                torch.cuda.set_stream(stream)
                raise
        return graph.replay


_captures = Captures()


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the device's stream for captures: cuBLAS keeps a workspace of megabytes for each, for ever."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
