"""Ticks of an axis."""

import pytest

from vita_demo.commands.ticks import ticks


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]),
        (0.9, 2.1, 5, [1, 1.5, 2]),
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1.68, 10, [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]),
        (0, 10.1, 10, [0, 2, 4, 6, 8, 10]),
        (0, 10, 10, [*range(11)]),
        (0, 0.045, 10, [number * 0.005 for number in range(10)]),
        (0, 200, 10, [*range(0, 201, 20)]),
    ],
)
def test_ticks_are_round_and_within_the_range(low: float, high: float, count: int, expected: list[float]) -> None:
    assert ticks(low, high, count) == pytest.approx(expected)
