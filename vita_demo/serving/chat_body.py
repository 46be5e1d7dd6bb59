"""The body of ``POST /v1/chat/completions``."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from vita_demo.serving.fields import Fields, bad_request, named, read_fields, refuse_unsupported, stop_strings
from vita_demo.serving.messages import read_messages
from vita_demo.serving.parts import PartReader, SamplingFields
from vita_demo.serving.query import Query

MAX_MESSAGES = 1000
_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "tools": (),
    "tool_choice": ("none",),
    "functions": (),
    "function_call": ("none",),
    "response_format": ({"type": "text"},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": (),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "moderation": (),
}


class StreamOptions(Fields):
    """How an answer is sent."""

    include_usage: bool | None = None


class OptionFields(SamplingFields):
    """The options that all endpoints share, with this server's own beside OpenAI's."""

    model: str | None = None
    stream: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    speculate: int | None = Field(None, ge=0, le=64)
    do_sample: bool | None = None
    min_new_tokens: int | None = Field(None, ge=0)
    time_limit_s: float | None = Field(None, gt=0)

    def options(self) -> dict[str, Any]:
        """Return those that were given, by the names of ``GenerationOptions``."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "speculate", "do_sample",
                 "min_new_tokens", "time_limit_s")  # fmt: skip
        given = {name: getattr(self, name) for name in names}
        if self.temperature is None and self.top_p == 1:
            # Clients send it with every request; alone it asks for nothing.
            del given["top_p"]
        if self.seed is not None:
            given["seed"] = self.seed % 2**63
        return {name: value for name, value in given.items() if value is not None}


class ChatFields(OptionFields):
    """The fields of ``POST /v1/chat/completions`` that have an effect."""

    messages: list[Any] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    n: int | None = Field(None, ge=1, le=1)


def read_chat(content: Mapping[str, Any]) -> Query:
    """Check a body.

    Raises:
        ApiError: 400 for the first thing that is wrong or that nothing here carries out.
    """
    refuse_unsupported(content, _HARMLESS)
    body = read_fields(ChatFields, content)
    stream_options = read_fields(StreamOptions, body.stream_options or {}, "stream_options")
    if stream_options.include_usage is not None and not body.stream:
        raise bad_request("stream_options goes with stream: true only; leave it out", "stream_options")
    if body.top_logprobs is not None and not body.logprobs:
        raise bad_request("top_logprobs needs logprobs: true; give both", "top_logprobs")
    parts = PartReader(body)
    system, questions = read_messages(body.messages, parts)
    options = body.options()
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if most is not None:
        options["max_new_tokens"] = most
    if body.logprobs:
        options["top_logprobs"] = body.top_logprobs or 0
    options["stop_strings"] = stop_strings(body.stop)
    unknown = [name for name in body.unknown if name not in _HARMLESS and content[name] is not None]
    return Query(
        questions,
        system,
        body.model,
        options,
        stream=bool(body.stream),
        usage_asked=bool(stream_options.include_usage),
        ignored=named([*unknown, *parts.ignored]),
    )
