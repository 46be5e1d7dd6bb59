"""A conversation as a JSON file: turns, paths of media and token ids."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vita_demo.answer import Turn
from vita_demo.errors import InputError
from vita_demo.request import Request

SCHEMA_VERSION = 1
_SAMPLING = ("fps", "max_frames", "start_s", "end_s")


@dataclass(frozen=True)
class Session:
    """What a conversation is made of.

    Attributes:
        system: the user's system prompt; None where the model's own holds.
        turns: questions and answers, the oldest first.
    """

    system: str | None
    turns: tuple[Turn, ...]


def write_session(session: Session, path: Path) -> None:
    """Save ``session``; media are saved as absolute paths.

    Raises:
        InputError: when the file cannot be written, or is there and no saved conversation.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "system": session.system,
        "turns": [_turn_to_json(turn) for turn in session.turns],
    }
    try:
        if path.exists():
            _refuse_other_files(path)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); give another place") from error


def read_session(path: Path) -> Session:
    """Read what ``write_session`` wrote.

    Raises:
        InputError: when the file is not there or holds something else, or its media are gone.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {content['schema_version']} instead of {SCHEMA_VERSION}")
        return Session(content["system"], tuple(_turn_from_json(turn) for turn in content["turns"]))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no saved conversation ({error}); give a file that /save wrote") from error


def _refuse_other_files(path: Path) -> None:
    """Keep a slip of the keyboard from overwriting a picture."""
    try:
        read_session(path)
    except InputError as error:
        raise InputError(f"{path} is there already and no saved conversation; give another name") from error


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    request = turn.request
    return {
        "question": request.question,
        "image_paths": [_absolute(path) for path in request.image_paths],
        "video_path": _absolute(request.video_path),
        "audio_path": _absolute(request.audio_path),
        **{name: getattr(request, name) for name in _SAMPLING},
        "text": turn.text,
        "token_ids": list(turn.token_ids),
        "finish_reason": turn.finish_reason,
        "state": turn.state,
    }


def _turn_from_json(content: dict[str, Any]) -> Turn:
    request = Request(
        question=content["question"],
        image_paths=tuple(Path(path) for path in content["image_paths"]),
        video_path=_path(content["video_path"]),
        audio_path=_path(content["audio_path"]),
        **{name: content[name] for name in _SAMPLING},
    )
    token_ids = tuple(int(token_id) for token_id in content["token_ids"])
    return Turn(request, str(content["text"]), token_ids, content["finish_reason"], content["state"])


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
