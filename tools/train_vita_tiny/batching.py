"""Batches of things that fit together, in random order."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import numpy as np

Thing = TypeVar("Thing")


def alike(
    things: Sequence[Thing], key: Callable[[Thing], Hashable], size: int, rng: np.random.Generator
) -> Iterator[list[Thing]]:
    """Yield batches of at most ``size`` things with the same ``key``, for ever; each thing once in every round."""
    groups: dict[Hashable, list[Thing]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    while True:
        whole = []
        for group in groups.values():
            order = rng.permutation(len(group))
            whole += [[group[i] for i in order[start : start + size]] for start in range(0, len(group), size)]
        for index in rng.permutation(len(whole)):
            yield whole[index]
