"""Where two answers first differ."""

from collections.abc import Sequence
from itertools import zip_longest


def first_difference(ours: Sequence[object], theirs: Sequence[object]) -> int | None:
    """Return the first index at which two sequences of token ids or characters differ; None when they are equal.

    Where one sequence is the beginning of the other, that is the shorter one's length.
    """
    pairs = enumerate(zip_longest(ours, theirs))
    return next((index for index, (our, their) in pairs if our != their), None)
