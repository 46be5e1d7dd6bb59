"""Pieces of a prompt take about four steps, as far as their limits allow."""

import pytest

from vita_demo.scheduling.pace import Pace


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def measured(step_s: float, position_s: float, tile_s: float) -> Pace:
    clock = Clock()
    pace = Pace(clock)
    pace.shared = True
    for what, count, seconds in (("step", 1, step_s), ("position", 10, 10 * position_s), ("tile", 2, 2 * tile_s)):
        with pace.timing(what, count):
            clock.now_s += seconds
    return pace


@pytest.mark.parametrize(
    ("step_s", "positions", "tiles"),
    [(0.001, 64, 1), (0.02515, 100, 2), (0.0506, 202, 4), (1.0, 512, 4)],
)
def test_a_piece_takes_about_four_steps_within_its_limits(step_s: float, positions: int, tiles: int) -> None:
    pace = measured(step_s, position_s=0.001, tile_s=0.05)
    assert pace.piece("position", 10_000) == positions
    assert pace.piece("tile", 13) == tiles
    assert (pace.piece("position", 7), pace.piece("tile", 1)) == (7, 1)


def test_a_piece_takes_about_a_second_where_nobody_waits() -> None:
    pace = measured(0.001, 0.00101, 0.05)
    pace.shared = False
    assert (pace.piece("position", 10_000), pace.piece("tile", 13)) == (990, 13)
    pace = Pace()
    assert (pace.piece("position", 10_000), pace.piece("tile", 13)) == (10_000, 13)


def test_pieces_are_large_before_anything_is_measured_and_where_they_take_no_time() -> None:
    fresh = Pace()
    fresh.shared = True
    for pace in (fresh, measured(0.005, 0.0, 0.0)):
        assert (pace.piece("position", 10_000), pace.piece("tile", 13)) == (512, 4)


def test_what_takes_longer_for_once_changes_little() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.shared = True
    for what, seconds in (("position", 0.001), *[("step", 0.05)] * 9, ("step", 0.1)):
        with pace.timing(what):
            clock.now_s += seconds
    assert pace.piece("position", 10_000) in (239, 240)
