"""CUDA graphs: the kernels of a call are recorded once and then launched all together."""

from collections.abc import Callable
from functools import cache, partial
from threading import Lock

import torch

Call = Callable[[], object]
Capture = Callable[[Call], Call]
"""Captures a call and returns its replay.

The call must write its results to tensors that exist already, and must have run once: kernels are chosen and loaded at
their first launch, and that cannot be captured.
"""


def capture_on(device: torch.device) -> Capture | None:
    """Return what captures calls on a GPU; None for other devices."""
    return partial(_captures.capture, device) if device.type == "cuda" else None


class Captures:
    """All captures of the process, one at a time: beginning one waits for the device, which would break another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failed = False

    def capture(self, device: torch.device, call: Call) -> Call:
        """Capture ``call``.

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
                    torch.cuda.graph(graph, stream=_capture_stream(device), capture_error_mode="thread_local"),
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
