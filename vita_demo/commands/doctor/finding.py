"""One thing that was checked, and what came of it."""

from dataclasses import dataclass
from typing import Literal, Self

from vita_demo.errors import VitaDemoError

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        group: which part of the report it belongs to.
        level: "ok"; "note" is good to know and stops nothing; "problem" keeps the model from running.
        text: one line: what was found, with its value.
        fix: one line: what to do about it; None where nothing is to do.
    """

    group: str
    level: Level
    text: str
    fix: str | None = None

    @classmethod
    def from_error(cls, group: str, error: VitaDemoError) -> Self:
        """Make a problem out of an error, whose line says what is wrong and, after a semicolon, what to do."""
        text, _, fix = " ".join(str(error).split()).rpartition("; ")
        return cls(group, "problem", text, fix) if text else cls(group, "problem", fix)
