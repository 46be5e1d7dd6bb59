"""``POST /generate``, as the callbacks guide's web application has it: a prompt in, text in ``token`` events out."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from vita_demo.answer import Answer
from vita_demo.generation.events import Event
from vita_demo.serving.answer_form import finish_reason, sse, timings, usage, vita
from vita_demo.serving.api_error import ApiError
from vita_demo.serving.chat_answer import DONE
from vita_demo.serving.chat_body import OptionFields
from vita_demo.serving.fields import bad_request, named, read_fields, stop_strings
from vita_demo.serving.live_answer import LiveAnswer
from vita_demo.serving.messages import read_messages
from vita_demo.serving.parts import PartReader
from vita_demo.serving.query import Query


class GuideFields(OptionFields):
    """The fields of ``POST /generate``; media are data URLs or base64."""

    prompt: str | None = None
    question: str | None = None
    image: str | list[str] | None = None
    video: str | None = None
    audio: str | None = None
    stop: str | list[str] | None = None
    max_new_tokens: int | None = Field(None, ge=1)


def read_guide(content: Mapping[str, Any]) -> Query:
    """Check a body; the answer is streamed unless ``stream`` is false.

    Raises:
        ApiError: 400 for the first thing that is wrong.
    """
    body = read_fields(GuideFields, content)
    if body.prompt is not None and body.question is not None:
        raise bad_request("prompt and question are two names of one thing; give one", "question")
    images = [body.image] if isinstance(body.image, str) else body.image or []
    media = [("image_url", image) for image in images]
    media += [(f"{kind}_url", value) for kind in ("video", "audio") if (value := getattr(body, kind)) is not None]
    text = body.prompt if body.question is None else body.question
    parts: list[dict[str, Any]] = [{"type": kind, kind: value} for kind, value in media]
    reader = PartReader(body)
    _, questions = read_messages([{"role": "user", "content": [{"type": "text", "text": text or ""}, *parts]}], reader)
    options = body.options()
    if body.max_new_tokens is not None:
        options["max_new_tokens"] = body.max_new_tokens
    options["stop_strings"] = stop_strings(body.stop)
    return Query(questions, None, body.model, options, stream=body.stream is not False, ignored=named(body.unknown))


class GuideAnswer:
    """Writes one answer."""

    def begin(self, _: LiveAnswer) -> bytes:
        """Return a comment: the guide's stream begins with text."""
        return b": begin\n\n"

    def text(self, events: Sequence[Event]) -> bytes:
        """Return all text of ``events`` as one token."""
        text = "".join([event.text for event in events])
        return sse({"token": text}) if text else b""

    def end(self, answer: Answer) -> bytes:
        """Return the reason, the counts and the end of the stream."""
        return sse({"token": "", **_end(answer)}) + DONE

    def error(self, error: ApiError) -> bytes:
        """Return the error and the end of the stream."""
        return sse(error.content) + DONE

    def whole(self, _: LiveAnswer, __: Sequence[Event], answer: Answer) -> dict[str, Any]:
        """Return the answer as one object."""
        return {"text": answer.text, **_end(answer)}


def _end(answer: Answer) -> dict[str, Any]:
    return {
        "finish_reason": finish_reason(answer),
        "usage": usage(answer),
        "timings": timings(answer),
        "vita": vita(answer),
    }
