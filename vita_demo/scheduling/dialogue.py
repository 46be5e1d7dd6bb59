"""What is asked: questions with their media, and the answers to all but the last.  No torch."""

from dataclasses import dataclass, field

from vita_demo.errors import InputError
from vita_demo.preprocess.media import Media


@dataclass(frozen=True)
class Exchange:
    """One question and its answer.

    Attributes:
        question: the typed question; may be empty if a sound asks it.
        media: what the question shows, already read.
        answer: the answer's text; None for the question that is to be answered.
        answer_ids: the answer's ids as they were generated; empty where only the text is known.
    """

    question: str
    media: Media = field(default_factory=Media)
    answer: str | None = None
    answer_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Dialogue:
    """A question with all that was said before it.

    Attributes:
        exchanges: the oldest first; the last one is open, all others are answered.
        system: a system prompt; None takes the model's own for the first media in the dialogue.

    Raises:
        InputError: when an answer is missing, or the last question has one.
    """

    exchanges: tuple[Exchange, ...]
    system: str | None = None

    def __post_init__(self) -> None:
        """Validate the order of questions and answers."""
        open_ones = [exchange.answer is None for exchange in self.exchanges]
        if not open_ones or not open_ones[-1] or any(open_ones[:-1]):
            raise InputError("a dialogue ends with a question, and every question before it has an answer")

    @property
    def modality(self) -> str:
        """Kind of the first media in the dialogue, "image" or "video", which choose its system prompt; else "text"."""
        shown = (exchange.media.modality for exchange in self.exchanges if exchange.media.modality != "text")
        return next(shown, "text")
