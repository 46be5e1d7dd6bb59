"""What the answers of all endpoints have in common: what they must be able to write, and their counts and times."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from vita_demo.answer import Answer
from vita_demo.generation.events import Event
from vita_demo.serving.api_error import ApiError
from vita_demo.serving.live_answer import LiveAnswer

_STAGES = ("queued", "media", "vision", "audio", "prefill", "decode")


class AnswerForm(Protocol):
    """Writes one answer, in one piece or as the events of a stream."""

    def begin(self, live: LiveAnswer) -> bytes:
        """Return what comes before the text."""

    def text(self, events: Sequence[Event]) -> bytes:
        """Return the text of all ``events`` in one event of the stream; nothing, if they have none."""

    def end(self, answer: Answer) -> bytes:
        """Return what comes after the text."""

    def error(self, error: ApiError) -> bytes:
        """Return what ends a stream that cannot go on."""

    def whole(self, live: LiveAnswer, events: Sequence[Event], answer: Answer) -> dict[str, Any]:
        """Return an answer in one piece, of all its events."""


def sse(content: Any, event: str | None = None) -> bytes:
    """Return one server-sent event."""
    name = f"event: {event}\n" if event else ""
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"{name}data: {data}\n\n".encode()


def finish_reason(answer: Answer) -> str:
    """Return one of the two reasons that clients know; the true one stands in ``vita``."""
    return "length" if answer.finish_reason in ("length", "timeout") else "stop"


def usage(answer: Answer) -> dict[str, Any]:
    """Count positions of the prompt by kind, and tokens of the answer."""
    prompt, generated = answer.prompt, len(answer.token_ids)
    return {
        "prompt_tokens": prompt.tokens,
        "completion_tokens": generated,
        "total_tokens": prompt.tokens + generated,
        "prompt_tokens_details": {
            name: getattr(prompt, name) for name in ("cached_tokens", "image_tokens", "audio_tokens", "text_tokens")
        },
    }


def timings(answer: Answer) -> dict[str, Any]:
    """Return the times of an answer in seconds, and the rates that follow from them."""
    stats = answer.stats
    stages = {name: stats.stages.get(name, 0.0) for name in _STAGES}
    return {
        "queued_s": stages["queued"],
        "ttft_s": stats.ttft_s,
        "prefill_tps": stats.prefill_tps,
        "decode_tps": stats.decode_tps,
        "total_s": stats.total_s,
        "stages": stages,
        "itl_s": stats.itl_s,
    }


def vita(answer: Answer) -> dict[str, Any]:
    """Return what this model says beside its answer, and why that ended."""
    return {
        "state": answer.state,
        "finish_reason": answer.finish_reason,
        "notes": [*answer.prompt.notes],
        "free_tokens": max(answer.prompt.free_tokens - len(answer.token_ids), 0),
    }
