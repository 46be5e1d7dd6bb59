"""The body of ``POST /v1/responses``."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from vita_demo.serving.chat_body import MAX_MESSAGES, OptionFields
from vita_demo.serving.fields import bad_request, join, named, read_fields, refuse_unsupported
from vita_demo.serving.messages import read_messages
from vita_demo.serving.parts import PartReader
from vita_demo.serving.query import Query

_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "tools": (),
    "tool_choice": ("none", "auto"),
    "text": ({"format": {"type": "text"}},),
    "background": (False,),
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "moderation": (),
    "context_management": (),
}
_LOGPROBS = "message.output_text.logprobs"


class ResponsesFields(OptionFields):
    """The fields of ``POST /v1/responses`` that have an effect."""

    input: str | list[Any]
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    include: list[str] | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    metadata: dict[str, str] | None = None


def read_responses(content: Mapping[str, Any]) -> tuple[Query, ResponsesFields]:
    """Check a body; return what it asks, and its fields, which the answer repeats.

    Raises:
        ApiError: 400 for the first thing that is wrong or that nothing here carries out.
    """
    refuse_unsupported(content, _HARMLESS)
    body = read_fields(ResponsesFields, content)
    parts = PartReader(body)
    items = [{"role": "user", "content": body.input}] if isinstance(body.input, str) else body.input
    if not 0 < len(items) <= MAX_MESSAGES:
        raise bad_request(f"input has {len(items)} items; give 1 to {MAX_MESSAGES}", "input")
    for number, item in enumerate(items):
        kind = item.get("type", "message") if isinstance(item, dict) else "message"
        if kind != "message":
            place = join("input", number, "type")
            raise bad_request(f"{place} {kind!r:.60} is not supported; give messages", place, "unsupported_parameter")
    system, questions = read_messages(items, parts, "input")
    if body.instructions is not None:
        system = body.instructions if system is None else f"{body.instructions}\n{system}"
    options = body.options()
    if body.max_output_tokens is not None:
        options["max_new_tokens"] = body.max_output_tokens
    included = body.include or []
    if body.top_logprobs is not None or _LOGPROBS in included:
        options["top_logprobs"] = body.top_logprobs or 0
    unknown = [name for name in body.unknown if name not in _HARMLESS and content[name] is not None]
    others = ["include" for name in included if name != _LOGPROBS]
    query = Query(
        questions,
        system,
        body.model,
        options,
        stream=bool(body.stream),
        ignored=named([*unknown, *others[:1], *parts.ignored]),
    )
    return query, body
