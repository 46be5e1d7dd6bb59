"""What a streamer does with token ids: whole characters, as soon as they are there.

Knows the two calls, ``put`` and ``end``, that transformers' ``generate`` and this package's make; it does not import
transformers, so that the command line can print through it at once.
"""

import sys
from collections.abc import Sequence
from typing import Any

from vita_demo.generation.detokenizer import Detokenizer


class TextStream:
    """Turns pushed ids into text for ``on_finalized_text``, which prints it.

    Args:
        tokenizer: any that can ``decode``.
        skip_prompt: leave out the first push, which is the prompt.
        decode_kwargs: passed to ``decode``; special tokens are skipped unless told otherwise.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = {"skip_special_tokens": True, **decode_kwargs}
        self._prompt_next = True
        self._reset()

    def put(self, value: Any) -> None:
        """Take a tensor of ids, [n] or [1, n].

        Raises:
            ValueError: for a batch of more than one.
        """
        ids = value.tolist() if hasattr(value, "tolist") else value
        if ids and isinstance(ids, list) and isinstance(ids[0], list):
            if len(ids) > 1:
                raise ValueError(f"a streamer shows one answer, not a batch of {len(ids)}")
            ids = ids[0]
        prompt, self._prompt_next = self._prompt_next, False
        if prompt and self.skip_prompt:
            return
        text = "".join(self._detokenizer.push(token_id) for token_id in ([ids] if isinstance(ids, int) else ids))
        if text:
            self.on_finalized_text(text)

    def end(self) -> None:
        """Show what was held back, and be ready for the next answer."""
        rest = self._detokenizer.flush()
        self._reset()
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print the text, and a line end after the last."""
        sys.stdout.write(text + "\n" * stream_end)
        sys.stdout.flush()

    def _reset(self) -> None:
        self._detokenizer = Detokenizer(self._decode)
        self._prompt_next = True

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(token_ids, **self.decode_kwargs)
        return text
