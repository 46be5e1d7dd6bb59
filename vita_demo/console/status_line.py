"""A line of progress below text that is still growing.

The text goes to stdout untouched.  The line goes to stderr, on the row below the cursor, which then returns to its
place; so the two never mix, and what stdout gets is the answer alone.
"""

import time
from typing import TextIO

from rich.cells import cell_len, set_cell_size

_EVERY_S = 0.1


class StatusLine:
    """Follows the cursor through the text, and writes below it.

    Args:
        stream: the terminal, without colours of its own.
        width: its columns.
    """

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._column = 0
        self._next = 0.0
        self._line = ""
        self._shown = False

    def write(self, text: str, stdout: TextIO) -> None:
        """Write ``text`` to ``stdout``; the line moves on with it when it reaches the next row."""
        before = self._column
        rows = self._advance(text)
        if self._shown and (rows or self._column == self._width):
            self._draw("", before)
        stdout.write(text)
        stdout.flush()
        # At the end of a full row the next character wraps; from there no way leads back to the same state.
        if self._line and not self._shown and self._column < self._width:
            self._draw(self._line, self._column)

    def show(self, line: str) -> None:
        """Write ``line`` below the cursor, at most ten times a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_S
        self._line = line
        if self._column < self._width:
            self._draw(line, self._column)

    def clear(self) -> None:
        """Take the line away."""
        self._line = ""
        if self._shown:
            self._draw("", self._column)

    def _advance(self, text: str) -> int:
        """Move the known column through ``text``; return how many rows further it is."""
        rows = 0
        if text.isascii() and text.isprintable():
            # Most text: every character is one cell wide.
            if text:
                rows, last = divmod(self._column + len(text) - 1, self._width)
                self._column = last + 1
            return rows
        for character in text:
            if character in "\r\n":
                self._column = 0
                rows += character == "\n"
            elif character == "\t":
                self._column = min(self._column + 8 - self._column % 8, self._width - 1)
            else:
                cells = cell_len(character)
                # A character that does not fit begins the next row; a full row holds the cursor on its last column.
                rows += self._column + cells > self._width
                self._column = cells if self._column + cells > self._width else self._column + cells
        return rows

    def _draw(self, line: str, column: int) -> None:
        """Write below a cursor in ``column``, and return to it."""
        self._shown = bool(line)
        fitted = set_cell_size(line, self._width - 1) if cell_len(line) >= self._width else line
        self._stream.write(f"\n\x1b[2K\x1b[2m{fitted}\x1b[0m\x1b[1A\x1b[{column + 1}G")
        self._stream.flush()
