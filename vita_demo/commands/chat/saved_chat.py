"""A conversation as a JSON file: turns, paths of media and token ids."""

import json
from pathlib import Path
from typing import Any

from vita_demo.answer import Answer, Turn
from vita_demo.errors import InputError
from vita_demo.files.local import TemporaryPath
from vita_demo.request import Request

SCHEMA_VERSION = 1
SavedChat = tuple[str | None, tuple[Turn, ...]]
"""The user's system prompt, None where the model's own holds, and the turns, the oldest first."""


def write_chat(path: Path, system: str | None, turns: tuple[Turn, ...]) -> None:
    """Save a conversation; media are saved as absolute paths.

    Raises:
        InputError: when the file cannot be written, or is there and no saved conversation, or media were no files.
    """
    for path in (path for turn in turns for path in turn.request.paths if isinstance(path, TemporaryPath)):
        raise InputError(f"{path.name} came from no file, so the conversation cannot be saved; attach it as a file")
    content = {"schema_version": SCHEMA_VERSION, "system": system, "turns": [_turn_to_json(turn) for turn in turns]}
    try:
        if path.exists():
            read_chat(path)  # so that a slip of the keyboard overwrites no picture
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        # Names of files may have any bytes, which Python keeps as surrogates.
        path.write_text(text, "utf-8", "surrogateescape")
    except InputError as error:
        raise InputError(f"{path} is there already and no saved conversation; give another name") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); give another place") from error


def read_chat(path: Path) -> SavedChat:
    """Read what ``write_chat`` wrote.

    Raises:
        InputError: when the file is not there or holds something else, or its media are gone.
    """
    try:
        content = json.loads(path.read_text("utf-8", "surrogateescape"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {content['schema_version']} instead of {SCHEMA_VERSION}")
        return content["system"], tuple(_turn_from_json(turn) for turn in content["turns"])
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no saved conversation ({error}); give a file that /save wrote") from error


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    answer = turn.answer
    return {
        **turn.request.to_json(absolute=True),
        "text": answer.text,
        "token_ids": list(answer.token_ids),
        "finish_reason": answer.finish_reason,
        "state": answer.state,
    }


def _turn_from_json(content: dict[str, Any]) -> Turn:
    token_ids = tuple(int(token_id) for token_id in content["token_ids"])
    answer = Answer(str(content["text"]), token_ids, content["finish_reason"], content["state"])
    return Turn(Request.from_json(content), answer)
