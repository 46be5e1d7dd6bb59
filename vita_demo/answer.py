"""What the model answered: the record that a generation ends with, and a turn of a conversation.  No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from vita_demo.metrics import RunStats
from vita_demo.request import Request

FinishReason = Literal["stop", "length", "cancelled", "timeout", "error"]


@dataclass(frozen=True)
class PromptSummary:
    """What stands before an answer, counted in positions of the language model.

    Attributes:
        tokens: positions in all: text, image and audio.
        image_tokens, audio_tokens: how many of them are media.
        cached_tokens: how many were in the KV cache already, from earlier turns.
        free_tokens: positions of the context that are left for the answer.
        frames: video frames that were seen.
        notes: one line on each file: what of it was used.
    """

    tokens: int
    image_tokens: int = 0
    audio_tokens: int = 0
    cached_tokens: int = 0
    free_tokens: int = 0
    frames: int = 0
    notes: tuple[str, ...] = ()

    @property
    def text_tokens(self) -> int:
        """Positions that are text."""
        return self.tokens - self.image_tokens - self.audio_tokens

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` returned, after JSON."""
        return cls(**{**content, "notes": tuple(content["notes"])})


@dataclass(frozen=True)
class Answer:
    """What the model answered, and how fast.

    Attributes:
        text: the answer without state token, stop token and stop string.
        token_ids: all generated ids, state and stop tokens included, without the prompt.
        finish_reason: why it ended.
        state: what the model took the query for: "text", "speech", "noise", or None when it did not say.
        prompt: what stood before it.
        stats: times and rates; ``RunStats()`` for an answer that was loaded from a file.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    state: str | None = None
    prompt: PromptSummary = field(default_factory=lambda: PromptSummary(0))
    stats: RunStats = field(default_factory=RunStats)


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation: a question with its media, and the answer."""

    request: Request
    answer: Answer
