"""Answers of ``POST /v1/chat/completions``: an object, or chunks of one."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vita_demo.answer import Answer
from vita_demo.generation.events import Event
from vita_demo.serving.answer_form import finish_reason, sse, timings, usage, vita
from vita_demo.serving.api_error import ApiError
from vita_demo.serving.live_answer import LiveAnswer
from vita_demo.serving.logprobs import Logprobs

DONE = b"data: [DONE]\n\n"


class ChatAnswer:
    """Writes one answer.

    A chunk of text is joined of bytes that are the same in every chunk and the text as a JSON string: making and
    checking an object for each would cost more than all else that the server does for a token.

    Args:
        model: the model's name.
        usage_asked: end a stream with the counts of tokens.
        logprobs: tells tokens, where they were asked for.
    """

    def __init__(self, model: str, usage_asked: bool, logprobs: Logprobs | None) -> None:
        self._model = model
        self._usage_asked = usage_asked
        self._logprobs = logprobs
        self._chunk: dict[str, Any] = {}
        self._head = self._tail = b""

    def begin(self, live: LiveAnswer) -> bytes:
        """Return the chunk that says the role."""
        self._chunk = self._base(live, "chat.completion.chunk")
        if self._usage_asked:
            self._chunk["usage"] = None
        head, tail = self._event({"content": "|"}).rsplit(b'"|"', 1)
        self._head, self._tail = head, tail
        return self._event({"role": "assistant", "content": ""})

    def text(self, events: Sequence[Event]) -> bytes:
        """Return a chunk with all text of ``events``."""
        text = "".join([event.text for event in events])
        if self._logprobs is not None:
            tokens = self._logprobs.content(events)
            return self._event({"content": text}, tokens=tokens) if text or tokens else b""
        return self._head + json.dumps(text).encode() + self._tail if text else b""

    def end(self, answer: Answer) -> bytes:
        """Return the chunk with the reason, the one with the counts if asked for, and the end of the stream.

        The last chunk has times and ``vita`` too.
        """
        extra = {"timings": timings(answer), "vita": vita(answer)}
        reason = finish_reason(answer)
        if not self._usage_asked:
            return self._event({}, reason, extra=extra) + DONE
        counts = {**self._chunk, "choices": [], "usage": usage(answer), **extra}
        return self._event({}, reason) + sse(counts) + DONE

    def error(self, error: ApiError) -> bytes:
        """Return the error and the end of the stream."""
        return sse(error.content) + DONE

    def whole(self, live: LiveAnswer, events: Sequence[Event], answer: Answer) -> dict[str, Any]:
        """Return the answer as one object."""
        tokens = None if self._logprobs is None else self._logprobs.content(events)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": None if tokens is None else {"content": tokens, "refusal": None},
            "finish_reason": finish_reason(answer),
        }
        return {
            **self._base(live, "chat.completion"),
            "choices": [choice],
            "usage": usage(answer),
            "timings": timings(answer),
            "vita": vita(answer),
        }

    def _base(self, live: LiveAnswer, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{live.id}", "object": kind, "created": live.created, "model": self._model}

    def _event(
        self,
        delta: dict[str, Any],
        reason: str | None = None,
        tokens: list[Any] | None = None,
        extra: Mapping[str, Any] = MappingProxyType({}),
    ) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
        if tokens is not None:
            choice["logprobs"] = {"content": tokens, "refusal": None}
        return sse({**self._chunk, "choices": [choice], **extra})
