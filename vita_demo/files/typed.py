"""What somebody types in place of a file or a text, as a file or a text: ``-`` for stdin, ``@file``, URLs."""

import sys
from pathlib import Path
from typing import TextIO

from vita_demo.errors import InputError
from vita_demo.files.download import fetch
from vita_demo.files.local import as_path, expand, is_url, temporary_path

STDIN = "-"
_MAX_STDIN_BYTES = 4 << 30


def typed_path(given: str | Path, flag: str, *, allow_url: bool = False, allow_private_url: bool = False) -> Path:
    """Return the file that somebody typed: a path, ``-`` for stdin, a data URI or, where that is allowed, a URL.

    Raises:
        InputError: when there is none; the message names ``flag``.
        MediaError: when a URL cannot be fetched.
    """
    text = str(given)
    if text == STDIN:
        return _save_stdin(flag)
    if not is_url(text):
        return as_path(given, flag)
    if not (allow_url or allow_private_url):
        raise InputError(f"{flag} {text} is a URL; give --allow_url to fetch it, or download it and give the file")
    return fetch(text, flag, allow_private_url)


def typed_text(given: str, flag: str) -> str:
    """Return the text that somebody typed: itself, ``-`` for stdin, or ``@file``; ``@@`` begins a text with ``@``.

    Raises:
        InputError: when the file cannot be read.
    """
    if given == STDIN:
        return _stdin(flag).read().rstrip("\n")
    if given.startswith("@@") or not given.startswith("@"):
        return given.removeprefix("@")
    try:
        # Bytes that are not UTF-8 are refused where texts are checked.
        return expand(Path(given[1:])).read_text("utf-8-sig", "surrogateescape").rstrip("\n")
    except OSError as error:
        raise InputError(
            f"{flag} {given} cannot be read ({error.strerror}); check the path, or begin a text with @@ to mean an @"
        ) from error


def _stdin(flag: str) -> TextIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(f"{flag} {STDIN} reads stdin, which is no file here; pipe one into it, as with < FILE")
    return sys.stdin


def _save_stdin(flag: str) -> Path:
    path, left = temporary_path("stdin"), _MAX_STDIN_BYTES
    stream = _stdin(flag).buffer
    with path.open("wb") as file:
        while block := stream.read(1 << 20):
            left -= file.write(block)
            if left < 0:
                raise InputError(f"{flag} {STDIN} gives more than {_MAX_STDIN_BYTES >> 30} GiB; give a file")
    return path
