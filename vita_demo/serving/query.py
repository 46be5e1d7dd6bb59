"""What was asked, in one form for all endpoints: questions with their media, earlier answers, and options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vita_demo.request import Sampling

Kind = Literal["image", "video", "audio"]


@dataclass(frozen=True)
class Attachment:
    """A picture, video or sound of a question, as the client gave it.

    Attributes:
        kind: what it is.
        source: a data URL, raw base64, or an https URL.
        param: the field of the body that holds it.
        one_tile: see a picture at low resolution.
        sampling: which frames of a video.
    """

    kind: Kind
    source: str
    param: str
    one_tile: bool = False
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class Question:
    """A question with its media, and its answer if it has one already."""

    text: str
    attachments: tuple[Attachment, ...] = ()
    answer: str | None = None


@dataclass(frozen=True)
class Query:
    """A whole request; its last question is open.

    Attributes:
        questions: the conversation, the oldest first.
        system: a system prompt; None takes the model's own.
        model: the model that is asked for; None takes the one that is there.
        options: of the generation, by the names of ``GenerationOptions``.
        stream: whether the answer is sent while it is made.
        usage_asked: whether a stream ends with the counts of tokens.
        ignored: fields that have no effect.
    """

    questions: tuple[Question, ...]
    system: str | None = None
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    usage_asked: bool = False
    ignored: tuple[str, ...] = ()
