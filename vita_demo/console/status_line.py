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
        self._shown = False

    def text(self, text: str) -> None:
        """Note that ``text`` was written at the cursor."""
        for character in text:
            if character in "\r\n":
                self._column = 0
            elif character == "\t":
                self._column = min(self._column + 8 - self._column % 8, self._width - 1)
            else:
                cells = cell_len(character)
                # A character that does not fit begins the next row; a full row holds the cursor on its last column.
                self._column = cells if self._column + cells > self._width else self._column + cells

    def show(self, line: str) -> None:
        """Write ``line`` below the cursor, at most ten times a second."""
        now = time.monotonic()
        # From the pending wrap at the end of a row there is no way back to the same state.
        if now < self._next or self._column == self._width:
            return
        self._next = now + _EVERY_S
        self._shown = True
        fitted = set_cell_size(line, self._width - 1) if cell_len(line) >= self._width else line
        self._write(f"\n\x1b[2K\x1b[2m{fitted}\x1b[0m")

    def clear(self) -> None:
        """Take the line away before text is written, which may reach its row."""
        if self._shown and self._column != self._width:
            self._shown = False
            self._write("\n\x1b[2K")

    def _write(self, below: str) -> None:
        self._stream.write(f"{below}\x1b[1A\x1b[{self._column + 1}G")
        self._stream.flush()
