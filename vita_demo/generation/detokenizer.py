"""Token ids to text, one token at a time, for any tokenizer that can decode a list of ids.

Only whole characters leave: a token may end inside a Chinese character or an emoji, and its bytes then wait for the
next token.  The cost per token is that of decoding a few tokens, however long the answer is.
"""

from collections.abc import Callable, Sequence

_REPLACEMENT = "\ufffd"
_LONGEST_CHARACTER = 4  # bytes of UTF-8


class Detokenizer:
    """Joined over all tokens, with ``flush`` at the end, the text is that of decoding all ids at once.

    Args:
        decode: token ids to text, with U+FFFD for bytes that are no character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        # The context's text has been sent.  It is decoded again since some tokenizers drop the first space of a text.
        self._context: list[int] = []
        self._pending: list[int] = []
        self._sent = 0

    @property
    def pending(self) -> bool:
        """Whether the last token ended inside a character."""
        return bool(self._pending)

    def push(self, token_id: int) -> str:
        """Add one token; return the text it completes, often its own."""
        self._pending.append(token_id)
        text = self._decode(self._context + self._pending)
        if text.endswith(_REPLACEMENT):
            # An incomplete character decodes to a single U+FFFD at the end, or, where each byte is a token, to one
            # for each byte since the last text: after the four bytes that a character has they are no character.
            whole = text.rstrip(_REPLACEMENT) if len(self._pending) < _LONGEST_CHARACTER else text[:-1]
            return self._send(whole)
        new = self._send(text)
        alone = len(self._decode(self._pending))
        # Tokens without text are no context: the next token would lose its space.
        self._context, self._sent = (self._pending, alone) if alone else (self._context + self._pending, self._sent)
        self._pending = []
        return new

    def flush(self) -> str:
        """Return the text held back, if the answer ended inside a character."""
        return self._send(self._decode(self._context + self._pending)) if self._pending else ""

    def _send(self, text: str) -> str:
        new = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return new
