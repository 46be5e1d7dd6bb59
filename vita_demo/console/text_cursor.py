"""Where the cursor stands after text that a terminal wraps."""

from rich.cells import cell_len


class TextCursor:
    """Follows the cursor's column; rows are counted by who asks.

    Attributes:
        width: the terminal's columns.
        column: cells of text left of the cursor in its row.
    """

    def __init__(self) -> None:
        self.width = self.column = 0
        # The text since its last line end, from which the column follows at any width.
        self._paragraph: list[str] = []

    @property
    def can_return(self) -> bool:
        """Whether an escape sequence can bring the cursor back: after the last column a terminal waits to wrap."""
        return self.column < self.width

    def resize(self, width: int) -> None:
        """Follow the text as it is wrapped at another width."""
        if width != self.width:
            self.width, paragraph = width, self._paragraph
            self.end_line()
            for text in paragraph:
                self.advance(text)

    def end_line(self) -> None:
        """Go to the start of a row, away from the text so far."""
        self._paragraph, self.column = [], 0

    def advance(self, text: str) -> int:
        """Follow the cursor through ``text``; return how many rows it moves down."""
        rows = text.count("\n")
        for number, line in enumerate(text.split("\n")):
            if number:
                self.end_line()
            if line:
                self._paragraph.append(line)
                rows += self._advance_in_line(line)
        return rows

    def _advance_in_line(self, text: str) -> int:
        if text.isascii() and text.isprintable():
            # The common case: every character is one cell wide.
            rows, last = divmod(self.column + len(text) - 1, self.width)
            self.column = last + 1
            return rows
        rows = 0
        for character in text:
            if character == "\r":
                self.column = 0
            elif character == "\t":
                self.column = min(self.column + 8 - self.column % 8, self.width - 1)
            else:
                cells = cell_len(character)
                # A character that does not fit wraps; after a full row the cursor stays on the last column.
                wraps = self.column + cells > self.width
                rows += wraps
                self.column = cells if wraps else self.column + cells
        return rows
