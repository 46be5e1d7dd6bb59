"""The first difference of two sequences."""

from collections.abc import Sequence

import pytest

from vita_demo.commands.difference import first_difference


@pytest.mark.parametrize(
    ("ours", "theirs", "index"),
    [((1, 2), (1, 2), None), ((), (), None), ((1, 2), (1, 3), 1), ((1, 2), (1,), 1), ((), (0,), 0), ("abc", "abd", 2)],
)
def test_the_first_difference_counts_a_missing_end(ours: Sequence, theirs: Sequence, index: int | None) -> None:
    assert first_difference(ours, theirs) == index
