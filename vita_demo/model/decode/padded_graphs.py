"""A function of a few rows, captured as CUDA graphs for some numbers of rows; others are padded to the next.

For few rows the GPU computes faster than Python launches one operation after the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import torch
from torch import Tensor

from vita_demo.model.decode.agreement import check_agreement
from vita_demo.model.decode.cuda_graph import Call, Capture

RowFunction = Callable[[Tensor, Tensor], Tensor]
"""Maps rows [n, …] and the index of the last of them that is no padding [1] to a result.

Padding changes nothing of what it computes of the rows before.
"""


class PaddedGraphs:
    """Replays a function of at most so many rows.

    Args:
        function: what to capture.
        rows: random ones, as many as the largest size has; the graphs' input from now on.
        sizes: numbers of rows to capture the function for.
        capture: turns a call into its replay.

    Raises:
        RuntimeError: when a size cannot be captured, or when its replay gives other results than the function.
    """

    def __init__(self, function: RowFunction, rows: Tensor, sizes: Sequence[int], capture: Capture) -> None:
        self._rows = rows
        self._last = torch.zeros(1, dtype=torch.long, device=rows.device)
        self._stream = _stream_of(rows)
        self._lock = Lock()
        self._graphs: dict[int, tuple[Call, Tensor]] = {}
        # The largest first: where captured calls share memory, its temporaries have room for all others'.
        for size in sorted(sizes, reverse=True):
            self._prepare(function, size, capture)

    def serves(self, rows: Tensor) -> bool:
        """Tell whether these rows [n, …] are few enough, and where and what the graphs expect."""
        own = self._rows
        fits = 0 < len(rows) <= len(own) and rows.dtype == own.dtype and rows.device == own.device
        # On another stream a replay could overtake what the last one on this stream is still reading.
        return fits and _stream_of(rows) == self._stream

    @contextmanager
    def replay(self, rows: Tensor) -> Iterator[Tensor]:
        """Give the function's result for rows [n, …], padded, inside the block; other threads wait until its end."""
        with self._lock:
            size = min(size for size in self._graphs if size >= len(rows))
            self._rows[: len(rows)] = rows
            # Attention multiplies what is masked by zero, which must not meet infinity or NaN of earlier rows.
            self._rows[len(rows) : size].zero_()
            self._last.fill_(len(rows) - 1)
            replay, result = self._graphs[size]
            replay()
            yield result

    def _prepare(self, function: RowFunction, size: int, capture: Capture) -> None:
        rows, last = self._rows[:size], self._last
        count = max(1, size - 1)
        example = rows[:count]
        last.fill_(count - 1)
        expected = function(example, last)
        # It must have run once with these sizes before it is captured.
        result = function(rows, last)
        self._graphs[size] = capture(lambda: result.copy_(function(rows, last))), result
        result.zero_()
        with self.replay(example) as found:
            check_agreement(found[: len(expected)], expected)


def _stream_of(rows: Tensor) -> torch.cuda.Stream | None:
    """Return the stream on which the calling thread launches; None for a CPU."""
    return torch.cuda.current_stream(rows.device) if rows.is_cuda else None
