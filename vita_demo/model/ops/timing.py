"""Micro-benchmarks for choices that depend on the machine."""

import time
from collections.abc import Callable


def best_s(call: Callable[[], object]) -> float:
    """Return the shortest time of four calls."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def best_in_turn_s(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Return the shortest time of both, called in turn, so that other load on the machine meets both alike."""
    times_s = [(best_s(first), best_s(second)) for _ in range(3)]
    return min(time_s for time_s, _ in times_s), min(time_s for _, time_s in times_s)
