"""The status line leaves the answer above it untouched."""

import io
from collections.abc import Sequence

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console as RichConsole

from vita_demo.answer import Answer
from vita_demo.console.run_panel import render
from vita_demo.console.status_line import StatusLine


class Terminal(io.StringIO):
    """A terminal emulator that answer and status line share."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(width, height, history=1000)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def lines(self) -> list[str]:
        scrolled = ["".join(row[x].data for x in range(self.screen.columns)) for row in self.screen.history.top]
        return [line.rstrip() for line in [*scrolled, *self.screen.display]]


def show(pieces: Sequence[str], width: int, height: int, status: bool) -> tuple[list[str], tuple[int, int]]:
    terminal = Terminal(width, height)
    line = StatusLine(terminal, width)
    for number, piece in enumerate(pieces):
        if status:
            line.show(f"{number} tokens of many, with more words than fit into a narrow terminal")
            line.write(piece, terminal)
        else:
            terminal.write(piece)
    line.clear()
    return terminal.lines(), (terminal.screen.cursor.x, terminal.screen.cursor.y)


# The emulator does not wrap a wide character that straddles the edge as terminals do, so widths are even for those.
NARROW = st.tuples(
    st.lists(st.text(st.sampled_from("ab é\n"), min_size=1, max_size=6), max_size=30), st.integers(10, 40)
)


WIDE = st.tuples(
    st.lists(st.text(st.sampled_from("中文한\n"), min_size=1, max_size=6), max_size=30),
    st.integers(5, 20).map(lambda half: 2 * half),
)


def drawn(answer: Answer, width: int) -> list[str]:
    rich = RichConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    rich.print(render(answer, width))
    return rich.file.getvalue().splitlines()


@settings(max_examples=150)
@given(NARROW | WIDE, st.integers(3, 12))
def test_the_status_line_leaves_the_answer_as_it_is(content: tuple[list[str], int], height: int) -> None:
    pieces, width = content
    plain, cursor = show(pieces, width, height, status=False)
    drawn, drawn_cursor = show(pieces, width, height, status=True)
    # The status line may have scrolled one row further.
    assert [line for line in drawn if line] == [line for line in plain if line]
    assert drawn_cursor[0] == cursor[0]


def test_the_status_line_stays_below_the_text() -> None:
    terminal = Terminal(12, 6)
    line = StatusLine(terminal, 12)
    line.write("an answer", terminal)
    line.show("3 tokens")
    line.show("4 tokens")
    assert terminal.lines()[:3] == ["an answer", "4 tokens", ""]
    line.write(" an", terminal)
    line.write("d more", terminal)
    assert terminal.lines()[:4] == ["an answer an", "d more", "4 tokens", ""]
    line.clear()
    assert terminal.lines()[:3] == ["an answer an", "d more", ""]
