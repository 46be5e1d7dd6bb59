"""The result of one check."""

from dataclasses import dataclass
from typing import Literal

MEMORY = "Memory"
"""The group below which the report shows the memory table."""

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        group: its section of the report.
        level: "ok", "note" (worth knowing, the model runs anyway) or "problem" (the model cannot run).
        text: one line: what was checked, with its value.
        fix: one line: what to do about it; None where there is nothing to do.
    """

    group: str
    level: Level
    text: str
    fix: str | None = None


def gigabytes(size_bytes: int) -> str:
    """Write a size in GB, or in MB below one GB."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
