"""How much of a prompt is read at a time while others are answered."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

Unit = Literal["position", "tile"]

LIMITS: Mapping[Unit, tuple[int, int]] = {"position": (64, 512), "tile": (1, 4)}
"""The smallest piece, below which starting one costs more than the work, and the largest."""
_STEPS = 4.0
_ALONE_S = 1.0
_WEIGHT = 0.2


class Pace:
    """Chooses pieces that take about four steps each, by what earlier ones took.

    So that running answers go on at a fifth of their speed at worst, and reading takes a quarter longer.  On a GPU,
    where pieces are launched and not awaited, they seem to take no time and are as large as they may be.

    Args:
        clock: monotonic seconds.

    Attributes:
        shared: whether answers wait for the end of a piece; if not, a piece may take a second, within which somebody
            who leaves is noticed.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.shared = False
        self._clock = clock
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, what: Unit | Literal["step"], count: int = 1) -> Iterator[None]:
        """Measure the ``with`` block as a step, or as a piece of so many units."""
        start = self._clock()
        yield
        seconds = (self._clock() - start) / count
        before = self._seconds.get(what, seconds)
        self._seconds[what] = before + _WEIGHT * (seconds - before)

    def piece(self, unit: Unit, left: int) -> int:
        """Return how many of the units that are left to do next."""
        (smallest, largest), each = LIMITS[unit], self._seconds.get(unit)
        if not self.shared:
            return min(left, max(largest, int(_ALONE_S / each))) if each else left
        step = self._seconds.get("step")
        fitting = int(_STEPS * step / each) if step is not None and each else largest
        return min(left, max(smallest, min(fitting, largest)))
