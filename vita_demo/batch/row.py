"""A row of the input, and the request that it asks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vita_demo.errors import InputError
from vita_demo.files.object_store import ObjectPath, is_uri
from vita_demo.request import Request, Sampling

Key = int | str
"""Tells a row from all others: its number in a table, from 0, or its path in a folder."""

_SINGLE_PATHS = ("video_path", "audio_path")
_SAMPLING = tuple(each.name for each in fields(Sampling))
_PLACE = re.compile(r"{{|}}|{(\w+)}")


@dataclass(frozen=True)
class Row:
    """One row of the input.

    Attributes:
        key: tells it from all others.
        values: its columns; those of a request are read, all are passed on.
        error: why it could not be read; None for a whole row.
    """

    key: Key
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


def request_of(row: Row, question: str, folder: Path, sampling: Sampling) -> Request:
    """Return what a row asks.

    Args:
        row: may have ``question``, ``image_path`` or ``image_paths``, ``video_path``, ``audio_path`` and the fields of
            ``Sampling``; empty ones count as missing.
        question: a template over the columns, ``What is {name}?``; asked where the row has no question of its own.
        folder: where relative paths begin; it may be an ``ObjectPath``, as may a path that is a URI.
        sampling: which frames of a video to sample, where the row does not say.

    Raises:
        InputError: when a value cannot be used.
    """
    if row.error is not None:
        raise InputError(row.error)
    values = {name: value for name, value in row.values.items() if value not in (None, "", [])}
    images = values.get("image_paths", values.get("image_path", []))
    paths = [_path(folder, path, "image_path") for path in (images if isinstance(images, list) else [images])]
    video, audio = (_path(folder, values[name], name) if name in values else None for name in _SINGLE_PATHS)
    chosen = {name: getattr(sampling, name) for name in _SAMPLING}
    return Request(
        question=question_of(row, question),
        image_paths=tuple(paths),
        video_path=video,
        audio_path=audio,
        **{**chosen, **{name: _number(name, values[name]) for name in _SAMPLING if name in values}},
    )


def _path(folder: Path, value: Any, name: str) -> Path:
    return ObjectPath.of(str(value), name) if is_uri(str(value)) else folder / str(value)


def question_of(row: Row, template: str) -> str:
    """Return the row's own question, or the template with its values.

    Raises:
        InputError: see ``fill``.
    """
    own = row.values.get("question")
    return fill(template, row.values) if own in (None, "") else str(own)


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Put a row's values into ``{column}``; ``{{`` and ``}}`` are braces.

    Raises:
        InputError: when the row has no such column.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in values:
            there = ", ".join(values) or "none"
            raise InputError(f"--question names {{{match[1]}}}, and the columns are {there}; write {{{{ for a brace")
        return str(values[match[1]])

    return _PLACE.sub(value, template)


def _number(name: str, value: Any) -> Any:
    try:
        return int(value) if name == "max_frames" else float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} {value!r} is no number") from None
