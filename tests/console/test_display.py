"""What is drawn leaves the answer above it untouched, at every width and while the window changes."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from unittest.mock import patch

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vita_demo.console.display import Display
from vita_demo.console.terminal import Place


class Screen(pyte.HistoryScreen):
    """A screen that wraps its lines anew at another width, as most terminals do."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height, history=1000)

    def draw(self, data: str) -> None:
        for character in data:
            if self.cursor.x == self.columns:
                self.buffer[self.cursor.y].wrapped = True
            super().draw(character)

    def erase_in_display(self, how: int = 0, *args: object, **kwargs: object) -> None:
        super().erase_in_display(how, *args, **kwargs)
        assert how == 0
        for y in range(self.cursor.y, self.lines):
            self.buffer[y].wrapped = False

    def rewrap(self, width: int) -> None:
        """Take another width."""
        lines, line, column = self._paragraphs()
        while len(lines) > line + 1 and not lines[-1]:
            lines.pop()
        rows: list[pyte.screens.StaticDefaultDict] = []
        for number, cells in enumerate(lines):
            if number == line:
                down = min(column // width, max(len(cells) - 1, 0) // width)
                at = len(rows) + down, column - down * width
            for start in range(0, max(len(cells), 1), width):
                row = pyte.screens.StaticDefaultDict(self.default_char)
                row.update(enumerate(cells[start : start + width]))
                row.wrapped = start + width < len(cells)
                rows.append(row)
        top = max(0, min(len(rows) - self.lines, at[0]), at[0] - self.lines + 1)
        self.history.top.clear()
        self.history.top.extend(rows[:top])
        self.buffer.clear()
        self.buffer.update(enumerate(rows[top : top + self.lines]))
        self.columns, self.margins = width, None
        self.cursor.y, self.cursor.x = at[0] - top, at[1]

    def _paragraphs(self) -> tuple[list[list[pyte.screens.Char]], int, int]:
        """Join the rows that were wrapped; return them with the cursor's paragraph and its column there."""
        lines, place = [[]], (0, 0)
        for number, row in enumerate([*self.history.top, *(self.buffer[y] for y in range(self.lines))]):
            if number == len(self.history.top) + self.cursor.y:
                place = len(lines) - 1, len(lines[-1]) + self.cursor.x
            lines[-1] += [row[x] for x in range(self.columns)]
            if not getattr(row, "wrapped", False):
                kept = place[1] if place[0] == len(lines) - 1 else 0
                while len(lines[-1]) > kept and lines[-1][-1].data == " ":
                    lines[-1].pop()
                lines.append([])
        return lines, *place


class Terminal(io.StringIO):
    """A terminal that stdout and stderr share."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.screen = Screen(width, height)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def lines(self) -> list[str]:
        screen = self.screen
        rows = [*screen.history.top, *(screen.buffer[y] for y in range(screen.lines))]
        return ["".join(row[x].data for x in range(screen.columns)).rstrip() for row in rows]

    @property
    def cursor(self) -> tuple[int, int]:
        return self.screen.cursor.x, len(self.screen.history.top) + self.screen.cursor.y


@pytest.fixture(autouse=True)
def _width():
    with patch("vita_demo.console.display.width_of", lambda terminal: terminal.screen.columns):
        yield


LONG = "tokens of many, with more words than fit into a narrow terminal"
Piece = tuple[str, int | None]
"""A text, and the width of the window before it comes; None leaves it."""


def show(pieces: Sequence[Piece], width: int, height: int, status: bool) -> list[tuple[list[str], list[str]]]:
    """Write the pieces; return what stands above and below the cursor after each, and at the end."""
    terminal, seen = Terminal(width, height), []
    display = Display(terminal, Place.SAME)
    with redirect_stdout(terminal):
        for number, (text, new_width) in enumerate([*pieces, ("", None)]):
            if new_width is not None:
                terminal.screen.rewrap(new_width)
            if status:
                display.show(f"{number} {LONG}" if number < len(pieces) else "")
                display.write(text)
            else:
                terminal.write(text)
            column, row = terminal.cursor
            lines, text_rows = terminal.lines(), row + (column > 0)
            seen.append(([line for line in lines[:text_rows] if line], [line for line in lines[text_rows:] if line]))
    return seen


def pieces(characters: str, widths: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[list[Piece], int]]:
    text = st.text(st.sampled_from(characters), min_size=1, max_size=6)
    return st.tuples(st.lists(st.tuples(text, st.none() | widths), max_size=30), widths)


# The emulator does not wrap a wide character that straddles the edge as terminals do, so widths are even for those.
NARROW = pieces("ab é\n", st.integers(10, 40))
WIDE = pieces("中文한\n", st.integers(5, 20).map(lambda half: 2 * half))


@settings(max_examples=300)
@given(NARROW | WIDE, st.integers(3, 12))
def test_the_answer_is_what_the_pipe_gets_and_below_it_is_the_status(
    content: tuple[list[Piece], int], height: int
) -> None:
    texts, width = content
    plain, drawn = (show(texts, width, height, status) for status in (False, True))
    # The status line may have scrolled one row further, so empty rows do not count.
    assert [above for above, _ in drawn] == [above for above, _ in plain]
    for number, (_, below) in enumerate(drawn):
        assert not below or (len(below) == 1 and f"{number} {LONG}".startswith(below[0]))
    assert drawn[-1][1] == []


def test_the_status_line_stays_below_the_text() -> None:
    terminal = Terminal(12, 6)
    display = Display(terminal, Place.SAME)
    with redirect_stdout(terminal):
        display.write("an answer")
        display.show("3 tokens")
        display.show("4 tokens")
        assert terminal.lines()[:3] == ["an answer", "4 tokens", ""]
        display.write(" an")
        display.write("d more")
        assert terminal.lines()[:4] == ["an answer an", "d more", "4 tokens", ""]
        display.stop()
    assert terminal.lines()[:3] == ["an answer an", "d more", ""]


def test_notes_wait_for_the_end_of_the_line() -> None:
    terminal = Terminal(40, 8)
    with redirect_stdout(terminal), Display(terminal, Place.SAME) as display:
        display.stage("reading")
        display.aside(lambda: terminal.write("a first note\n"))
        display.write("an ans")
        display.show("1 token")
        display.aside(lambda: terminal.write("a second note\n"))
        assert terminal.lines()[:3] == ["a first note", "an ans", "1 token"]
        display.write("wer\n")
        assert terminal.lines()[:4] == ["a first note", "an answer", "a second note", "1 token"]
        display.write("that breaks off")
        display.aside(lambda: terminal.write("a third note\n"))
    assert terminal.lines()[3:6] == ["that breaks off", "a third note", ""]


def test_a_stage_ends_with_the_first_text() -> None:
    terminal = Terminal(40, 8)
    with redirect_stdout(terminal), Display(terminal, Place.SAME) as display:
        display.stage("reading")
        while "reading" not in terminal.lines()[0]:
            pass
        display.write("an answer")
        assert terminal.lines()[:2] == ["an answer", ""]


def test_nothing_is_drawn_while_text_goes_into_a_pipe() -> None:
    terminal = Terminal(80, 4)
    display = Display(terminal, Place.UNKNOWN)
    display.start(10)
    display.advance(1)
    assert terminal.lines() == [""] * 4


def test_a_bar_stands_where_no_text_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(80, 4)
    display = Display(terminal, Place.ELSEWHERE)
    monkeypatch.setattr("vita_demo.console.display.time.monotonic", iter(range(9)).__next__)
    display.start(10)
    display.advance(5)
    assert terminal.lines()[0].startswith("━" * 12 + "─" * 12 + " 5 of at most 10 tokens · ")
    terminal.screen.rewrap(52)
    display.advance(6)
    assert terminal.lines()[0].startswith("6 of at most 10 tokens · ")
    display.stop()
    assert terminal.lines() == [""] * 4


@pytest.mark.parametrize("place", [Place.SAME, Place.UNKNOWN, Place.ELSEWHERE])
def test_where_nothing_can_be_drawn_nothing_is(place: Place) -> None:
    terminal, said = Terminal(80, 4), []
    with (
        redirect_stdout(io.StringIO()) as stdout,
        patch("vita_demo.console.display.time.monotonic", iter(range(0, 99, 6)).__next__),
        Display(terminal, place, live=False, say=said.append) as display,
    ):
        display.stage("reading")
        display.start(10)
        display.advance(5)
        display.write("text\n")
    assert terminal.lines() == [""] * 4
    assert stdout.getvalue() == "text\n"
    assert said == (["5 of at most 10 tokens · 1/s now, 1/s on average"] if place is Place.ELSEWHERE else [])
