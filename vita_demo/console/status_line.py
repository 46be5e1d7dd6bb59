"""A line of progress below streaming text.

The text goes to stdout unchanged.  The line goes to stderr, on the row below the cursor, which then returns to its
position; so stdout holds the answer alone.
"""

from typing import TextIO

from rich.cells import cell_len, set_cell_size


class StatusLine:
    """Tracks the cursor's column through the text, and draws on the row below it.

    Args:
        stream: the terminal.
        width: its columns.
    """

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._column = 0
        self._line = ""
        self._shown = False

    def write(self, text: str, stdout: TextIO) -> None:
        """Write ``text`` to ``stdout``, and redraw the line below it when the text reaches another row."""
        before = self._column
        rows = self._advance(text)
        if self._shown and (rows or self._column == self._width):
            self._draw("", before)
        stdout.write(text)
        stdout.flush()
        # After the last column the terminal is in its "pending wrap" state, to which no escape sequence returns.
        if self._line and not self._shown and self._column < self._width:
            self._draw(self._line, self._column)

    def show(self, line: str) -> None:
        """Draw ``line`` below the cursor."""
        self._line = line
        if self._column < self._width:
            self._draw(line, self._column)

    def clear(self) -> None:
        """Erase the line."""
        self._line = ""
        if self._shown:
            self._draw("", self._column)

    def _advance(self, text: str) -> int:
        """Advance the column through ``text``; return how many rows the cursor moves down."""
        rows = 0
        if text.isascii() and text.isprintable():
            # The common case: every character is one cell wide.
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
                # A character that does not fit wraps; after a full row the cursor stays on the last column.
                wraps = self._column + cells > self._width
                rows += wraps
                self._column = cells if wraps else self._column + cells
        return rows

    def _draw(self, line: str, column: int) -> None:
        """Draw on the row below a cursor in ``column``, and return the cursor there."""
        self._shown = bool(line)
        fitted = set_cell_size(line, self._width - 1) if cell_len(line) >= self._width else line
        self._stream.write(f"\n\x1b[2K\x1b[2m{fitted}\x1b[0m\x1b[1A\x1b[{column + 1}G")
        self._stream.flush()
