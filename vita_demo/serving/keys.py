"""API keys: read from a file, compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from vita_demo.errors import InputError

_MIN_CHARACTERS = 16


class Keys:
    """The keys that a server takes; without any, everybody is let in."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read one key a line; empty lines and those that begin with # are left out.

        Raises:
            InputError: when the file cannot be read, or holds no key or a short one.
        """
        if path is None:
            return cls()
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--api_key_file {path} cannot be read ({error}); give a text file") from error
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise InputError(f"--api_key_file {path} holds no key; write one a line")
        if min(map(len, keys)) < _MIN_CHARACTERS:
            raise InputError(
                f"--api_key_file {path} holds a key of less than {_MIN_CHARACTERS} characters, which can be guessed; "
                "write longer ones"
            )
        return cls(keys)

    @property
    def needed(self) -> bool:
        """Whether requests need a key."""
        return bool(self._digests)

    def owner_of(self, authorization: str) -> str | None:
        """Return a name for who has the key of an ``Authorization`` header; None for a wrong one.

        All keys are compared, each in constant time, so that the time it takes tells nothing.
        """
        scheme, _, key = authorization.partition(" ")
        digest = _digest(key.strip())
        found = [hmac.compare_digest(digest, each) for each in self._digests]
        return digest.hex()[:16] if scheme.lower() == "bearer" and any(found) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
