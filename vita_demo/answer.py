"""One turn of a conversation: what was asked and what was answered."""

from dataclasses import dataclass

from vita_demo.generation.stopping import FinishReason
from vita_demo.metrics import RunStats
from vita_demo.request import Request


@dataclass(frozen=True)
class Turn:
    """A question with its media, and its answer.

    Attributes:
        request: the question and the paths of its media.
        text: the answer without state token, stop token and stop string.
        token_ids: all generated ids, state and stop tokens included.
        finish_reason: why the answer ended.
        state: what the model took the query for: "text", "speech", "noise", or None when it did not say.
        reused_positions: positions before the answer that were in the cache already.
        stats: times and rates, with the newly computed positions as ``prompt_positions``; None for a turn that was
            loaded from a file.
    """

    request: Request
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    state: str | None = None
    reused_positions: int = 0
    stats: RunStats | None = None


@dataclass(frozen=True)
class TurnStart:
    """What is known before the first token of an answer.

    Attributes:
        notes: one line on each file: what of it is used.
        reused_positions: positions that are in the cache already.
        computed_positions: positions that are computed now.
        free_positions: positions of the context that are left for the answer.
    """

    notes: tuple[str, ...]
    reused_positions: int
    computed_positions: int
    free_positions: int

    @property
    def prompt_positions(self) -> int:
        """Positions before the answer in all."""
        return self.reused_positions + self.computed_positions
