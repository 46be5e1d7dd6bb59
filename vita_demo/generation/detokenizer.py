"""Token ids to text, one token at a time.

Text leaves as soon as it is whole characters: a token may end inside a Chinese character or an emoji, and its bytes
then wait for the next.  Each token costs the decoding of a few tokens, however long the answer is.  Works with any
tokenizer, since all it asks is to decode a list of ids.
"""

from collections.abc import Callable, Sequence

_REPLACEMENT = "\ufffd"


class Detokenizer:
    """Joined over all tokens, with ``flush`` at the end, the text is that of decoding all ids at once.

    Args:
        decode: token ids to text, with U+FFFD for bytes that are no character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        # Text of the context is known and sent; it stays in the window since some tokenizers drop a first space.
        self._context: list[int] = []
        self._pending: list[int] = []
        self._sent = 0

    @property
    def pending(self) -> bool:
        """Whether the last token ended inside a character."""
        return bool(self._pending)

    def push(self, token_id: int) -> str:
        """Take one token; return the text that became certain, often the token's own."""
        self._pending.append(token_id)
        text = self._decode(self._context + self._pending)
        if text.endswith(_REPLACEMENT):
            # Of an unfinished character only its one mark at the end can still change.
            return self._send(text[:-1])
        new = self._send(text)
        self._context, self._pending = self._pending, []
        self._sent = len(self._decode(self._context))
        return new

    def flush(self) -> str:
        """Return what was held back; the answer ended inside a character."""
        return self._send(self._decode(self._context + self._pending)) if self._pending else ""

    def _send(self, text: str) -> str:
        new = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return new
