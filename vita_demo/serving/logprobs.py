"""Log-probabilities of tokens as OpenAI's API tells them."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.generation.events import Event

_LEAST = -9999.0
"""Stands for the logarithm of 0, which JSON cannot say."""


class Logprobs:
    """Tells tokens by their text and bytes.

    Args:
        tokenizer: of the model.
    """

    def __init__(self, tokenizer: VitaTokenizer) -> None:
        self._tokenizer = tokenizer
        self._silent = {*tokenizer.states, *tokenizer.stop_ids}

    def content(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Return an entry for each token of the text; state and stop tokens are not part of it."""
        return [
            {
                **self._entry(event.token_id, event.logprob),
                "top_logprobs": [self._entry(*alternative) for alternative in event.alternatives],
            }
            for event in events
            if event.token_id is not None and event.logprob is not None and event.token_id not in self._silent
        ]

    def _entry(self, token_id: int, logprob: float) -> dict[str, Any]:
        content = self._bytes(token_id)
        return {
            "token": content.decode("utf-8", "replace"),
            "logprob": max(logprob, _LEAST),
            "bytes": [*content],
        }

    def _bytes(self, token_id: int) -> bytes:
        token = self._tokenizer.backend.id_to_token(token_id) or ""
        letters = _byte_of_letter()
        # Added tokens are stored as they are, and may have letters that stand for no byte.
        whole = all(letter in letters for letter in token)
        return bytes(letters[letter] for letter in token) if whole else token.encode()


@cache
def _byte_of_letter() -> Mapping[str, int]:
    """Byte-level BPE writes bytes that are no printable Latin-1 letter as letters from U+0100 on (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
