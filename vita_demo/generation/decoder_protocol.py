"""What the decode loops need of a language model."""

from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """A language model with a KV cache of its own."""

    @property
    def runs_ahead(self) -> bool:
        """Whether steps can be launched without waiting for them, through ``launch``."""

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        """Read the prompt [1, S, D]; return the next token's logits [1, vocab_size]."""

    def step(self, token_id: Tensor) -> Tensor:
        """Read one token [1] and commit it; return the next one's logits [1, vocab_size], valid until the next step."""

    def launch(self, token_id: Tensor, ahead: int) -> Tensor:
        """Launch the step of one token [1] without synchronizing, into cache slot ``length + ahead``.

        Returns the logits as ``step`` does.  Unless ``commit`` follows, the next step overwrites the slot.
        """

    def verify(self, token_ids: Tensor) -> Tensor:
        """Read tokens [n] in one pass; return the logits after each [n, vocab_size], valid until the next step.

        Only the first token is committed; the next pass overwrites the cache slots of the others.
        """

    def commit(self) -> None:
        """Advance the cache's length by one: the oldest token launched (or verified) becomes part of the sequence."""
