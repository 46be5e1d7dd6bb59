"""Who watches a measured answer: callbacks that do as little as they can, or wait, and a tokenizer without files."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vita_demo.generation.callbacks import GenerationCallback


class Letters:
    """A tokenizer without files: each id is one of 95 printable characters, and nothing stops an answer."""

    stop_ids: frozenset[int] = frozenset()
    states: Mapping[int, str] = {}

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True, **_: Any) -> str:
        """Turn ids into text."""
        return "".join(chr(32 + int(token_id) % 95) for token_id in token_ids)


class Counting(GenerationCallback):
    """Does as little as a callback can."""

    count = 0

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Count."""
        self.count += 1


class Waiting(GenerationCallback):
    """Takes a millisecond for each token."""

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Sleep."""
        time.sleep(1e-3)


CALLBACKS: dict[str, tuple[str, Callable[[], list[GenerationCallback]]]] = {
    "none": ("", list),
    "three": (", 3 callbacks", lambda: [Counting() for _ in range(3)]),
    "slow": (", a 1 ms callback", lambda: [Waiting()]),
}
"""Choices of callbacks: what the table calls them, and how they are made for one answer."""
