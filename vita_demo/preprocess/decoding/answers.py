"""Where answers go: to the process that asked, or to a reader in this one."""

import json
import os
import time
from typing import Any, Protocol

BEAT_S = 0.5


class Answers(Protocol):
    """Takes the parts of an answer."""

    def send(self, content: bytes = b"", **fields: Any) -> None:
        """Take a part: its ``kind``, other fields, and bytes."""

    def beat(self) -> None:
        """Take a sign of life; called often."""


class Written:
    """Writes answers to a file, and a beat when half a second went by since the last."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb")
        self._last = time.monotonic()

    def send(self, content: bytes = b"", **fields: Any) -> None:
        """Write a line of JSON, and the bytes."""
        self._file.write(json.dumps({**fields, "bytes": len(content)}).encode() + b"\n")
        self._file.write(content)
        self._file.flush()
        self._last = time.monotonic()

    def beat(self) -> None:
        """Write a beat if it is time."""
        if time.monotonic() - self._last > BEAT_S:
            self.send(kind="beat")
