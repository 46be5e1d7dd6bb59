"""Answers of ``POST /v1/responses``: an object, or typed events."""

from collections.abc import Mapping, Sequence
from typing import Any

from vita_demo.answer import Answer
from vita_demo.generation.events import Event
from vita_demo.serving.answer_form import finish_reason, sse, timings, vita
from vita_demo.serving.api_error import ApiError
from vita_demo.serving.live_answer import LiveAnswer
from vita_demo.serving.logprobs import Logprobs
from vita_demo.serving.responses_body import ResponsesFields

_PLACE = {"output_index": 0, "content_index": 0}


class ResponsesAnswer:
    """Writes one answer.

    Args:
        model: the model's name.
        body: the request's fields, which the answer repeats.
        logprobs: tells tokens, where they were asked for.
    """

    def __init__(self, model: str, body: ResponsesFields, logprobs: Logprobs | None) -> None:
        self._model = model
        self._body = body
        self._logprobs = logprobs
        self._base: dict[str, Any] = {}
        self._item_id = ""
        self._number = 0
        self._tokens: list[dict[str, Any]] = []

    def begin(self, live: LiveAnswer) -> bytes:
        """Return the events that announce the answer, its message and its text."""
        self._name(live)
        response = self._response("in_progress", [])
        item = {**self._item("in_progress"), "content": []}
        return b"".join(
            (
                self._event("response.created", response=response),
                self._event("response.in_progress", response=response),
                self._event("response.output_item.added", output_index=0, item=item),
                self._event("response.content_part.added", item_id=self._item_id, **_PLACE, part=self._part("")),
            )
        )

    def text(self, events: Sequence[Event]) -> bytes:
        """Return one event with all text of ``events``."""
        text = "".join([event.text for event in events])
        tokens = self._content(events)
        self._tokens += tokens
        if not (text or tokens):
            return b""
        name = "response.output_text.delta"
        return self._event(name, item_id=self._item_id, **_PLACE, delta=text, logprobs=_short(tokens))

    def end(self, answer: Answer) -> bytes:
        """Return the events that end the text, its message and the answer."""
        response = self._finished(answer)
        (item,) = response["output"]
        (part,) = item["content"]
        at = {"item_id": self._item_id, **_PLACE}
        text, tokens = answer.text, _short(self._tokens)
        return b"".join(
            (
                self._event("response.output_text.done", **at, text=text, logprobs=tokens),
                self._event("response.content_part.done", **at, part=part),
                self._event("response.output_item.done", output_index=0, item=item),
                self._event(f"response.{response['status']}", response=response),
            )
        )

    def error(self, error: ApiError) -> bytes:
        """Return the event that ends a stream that cannot go on."""
        response = self._response("failed", [])
        response["error"] = {"code": "server_error", "message": error.content["error"]["message"]}
        return self._event("response.failed", response=response)

    def whole(self, live: LiveAnswer, events: Sequence[Event], answer: Answer) -> dict[str, Any]:
        """Return the answer as one object."""
        self._name(live)
        self._tokens = self._content(events)
        return self._finished(answer)

    def _name(self, live: LiveAnswer) -> None:
        self._base = {"id": f"resp_{live.id}", "object": "response", "created_at": live.created}
        self._item_id = f"msg_{live.id}"

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = sse({"type": kind, "sequence_number": self._number, **fields}, kind)
        self._number += 1
        return event

    def _finished(self, answer: Answer) -> dict[str, Any]:
        status = "incomplete" if finish_reason(answer) == "length" else "completed"
        item = {**self._item(status), "content": [self._part(answer.text)]}
        response = self._response(status, [item])
        if status == "incomplete":
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        prompt, generated = answer.prompt, len(answer.token_ids)
        response["usage"] = {
            "input_tokens": prompt.tokens,
            "input_tokens_details": {
                "cached_tokens": prompt.cached_tokens,
                "cache_write_tokens": prompt.tokens - prompt.cached_tokens,
                "image_tokens": prompt.image_tokens,
                "audio_tokens": prompt.audio_tokens,
                "text_tokens": prompt.text_tokens,
            },
            "output_tokens": generated,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt.tokens + generated,
        }
        return {**response, "timings": timings(answer), "vita": vita(answer)}

    def _response(self, status: str, output: list[Any]) -> dict[str, Any]:
        body = self._body
        return {
            **self._base,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "model": self._model,
            "output": output,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "temperature": body.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": None,
        }

    def _item(self, status: str) -> dict[str, Any]:
        return {"id": self._item_id, "type": "message", "status": status, "role": "assistant"}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self._tokens}

    def _content(self, events: Sequence[Event]) -> list[dict[str, Any]]:
        return [] if self._logprobs is None else self._logprobs.content(events)


def _short(tokens: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tokens as events tell them: without their bytes."""
    return [
        {
            **{name: value for name, value in token.items() if name != "bytes"},
            "top_logprobs": [{"token": each["token"], "logprob": each["logprob"]} for each in token["top_logprobs"]],
        }
        for token in tokens
    ]
