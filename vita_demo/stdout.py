"""What goes to stdout: text and JSON, in any encoding, and one line where it cannot be written.  Imports no rich."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def prepare_streams() -> bool:
    """Let stdin give and stdout take any text; return whether there is a stdout at all.

    Characters that stdout's encoding lacks are written as escapes, as Python does on stderr.  Bytes from stdin that are
    no text are refused where they are used.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the program
    if sys.stdout is None:
        return False
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)
    return True


def write(text: str) -> None:
    """Write text at once."""
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def write_json(record: Mapping[str, Any]) -> None:
    """Write one object in a line."""
    write(to_json(record))


def to_json(record: Mapping[str, Any]) -> str:
    """Format one object as a line; in ASCII where the encoding is not UTF-8, so that it stays JSON."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(record, ensure_ascii=not unicode) + "\n"


def discard_stdout() -> None:
    """Drop what is still buffered, which Python would try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
