"""The base of streamers, which prints whole characters as soon as they are complete.

It has the two methods, ``put`` and ``end``, that transformers' ``generate`` and this package's call, but does not
import transformers, which takes seconds.
"""

import sys
from collections.abc import Sequence
from typing import Any

from vita_demo.generation.detokenizer import Detokenizer


def ids_of_one(value: Any) -> list[int]:
    """Return the ids of a tensor or list, [n] or [1, n], or of a single id.

    Raises:
        ValueError: for a batch of more than one; in a batch, transformers also puts one id for each answer, [rows].
    """
    ids = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(ids, list) and ids and isinstance(ids[0], list):
        if len(ids) > 1:
            raise ValueError(f"a streamer shows one answer, not a batch of {len(ids)}")
        ids = ids[0]
    return [ids] if isinstance(ids, int) else list(ids)


class TextStream:
    """Turns ids into text for ``on_finalized_text``, which prints it.

    Args:
        tokenizer: any that can ``decode``.
        skip_prompt: ignore the first ``put``, which is the prompt.
        decode_kwargs: passed to ``decode``; special tokens are skipped by default.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = {"skip_special_tokens": True, **decode_kwargs}
        self._prompt_next = True
        self._detokenizer = Detokenizer(self._decode)

    def put(self, value: Any) -> None:
        """Add a tensor of ids, [n] or [1, n].

        Raises:
            ValueError: for a batch of more than one.
        """
        ids = ids_of_one(value)
        prompt, self._prompt_next = self._prompt_next, False
        if prompt and self.skip_prompt:
            return
        text = "".join(self._detokenizer.push(token_id) for token_id in ids)
        if text:
            self.on_finalized_text(text)

    def end(self) -> None:
        """Print the text held back, and reset for the next answer."""
        rest = self._detokenizer.flush()
        self._prompt_next, self._detokenizer = True, Detokenizer(self._decode)
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print the text, and a newline after the last."""
        sys.stdout.write(text + "\n" * stream_end)
        sys.stdout.flush()

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(token_ids, **self.decode_kwargs)
        return text
