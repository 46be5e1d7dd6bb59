"""Reads the lines of a chat: from a terminal with editing and completion, or from plain standard input."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from vita_demo.console import Console
from vita_demo.resources import cache_folders


class LineReader(Protocol):
    """The input of a chat.

    Attributes:
        interactive: whether a person types at a terminal, which shows the line already.
    """

    interactive: bool

    def read(self, label: str) -> str | None:
        """Read one entry, possibly of several lines, after the prompt ``label``; None at the end of input."""


class PlainReader:
    """Reads standard input line by line; a backslash at the end of a line continues it."""

    interactive = False

    def __init__(self, console: Console) -> None:
        self._console = console

    def read(self, label: str) -> str | None:
        """Read one entry and show it on stderr after ``label``."""
        lines: list[str] = []
        for line in iter(sys.stdin.readline, ""):
            text = line.removesuffix("\n")
            lines.append(text.removesuffix("\\"))
            if not text.endswith("\\"):
                break
        if not lines:
            return None
        entry = "\n".join(lines)
        self._console.note(label + entry)
        return entry


def make_reader(console: Console, commands: Mapping[str, str], path_commands: frozenset[str]) -> LineReader:
    """Choose the reader: with editing where standard input is a terminal, else a plain one.

    Args:
        console: where the plain reader shows what it read.
        commands: names to complete, with a description of each.
        path_commands: the commands whose arguments are paths to complete.
    """
    if not (sys.stdin.isatty() and (sys.stdout.isatty() or sys.stderr.isatty())):
        return PlainReader(console)
    from vita_demo.console.terminal_reader import TerminalReader

    return TerminalReader(commands, path_commands, _history_path())


def _history_path() -> Path | None:
    """Return a file in the user's cache folder; None where nothing can be written."""
    for folder in cache_folders():
        path = folder / "chat_history"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError:
            continue
        return path
    return None
