"""An answer as one JSON object, whoever made it."""

from collections.abc import Mapping
from typing import Any

from vita_demo.answer import Answer
from vita_demo.metrics import SCHEMA_VERSION


def answer_record(answer: Answer, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that docs/scripts.md documents; ``about`` has ``model`` and ``host``."""
    prompt = answer.prompt
    return {
        "schema_version": SCHEMA_VERSION,
        "text": answer.text,
        "state": answer.state,
        "token_ids": list(answer.token_ids),
        "prompt_tokens": prompt.tokens,
        "image_tokens": prompt.image_tokens,
        "audio_tokens": prompt.audio_tokens,
        "frames": prompt.frames,
        "finish_reason": answer.finish_reason,
        "metrics": answer.stats.to_dict(),
        "model": about.get("model"),
        "host": about.get("host"),
    }
