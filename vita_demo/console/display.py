"""The one thing that draws on a terminal while a run lasts: a line that changes, below the answer.

It shows the stages before the first token, and then how many tokens there are.  It is drawn on stderr, in the cursor's
row or, where that has text, in the next one, and the cursor returns to its position; so stdout holds the answer alone.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from typing import Self, TextIO

from rich.cells import cell_len, set_cell_size

from vita_demo.console.terminal import Place, width_of, without_echo
from vita_demo.console.text_cursor import TextCursor
from vita_demo.stdout import write

_SPINNER, _SPINNER_EVERY_S = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", 0.1
_PLAIN_LINE_EVERY_S = 5.0
_BAR_CELLS, _SHORTEST_BAR_CELLS = 24, 8
_ERASE_BELOW = "\x1b[J"
# Both save the cursor.  To go below is a step down, which scrolls in the last row, and up again before that.
_STAY, _GO_BELOW, _RETURN = "\x1b7", "\x1bD\x1b[A\x1b7\x1b[B\r", "\x1b8"


class Display:
    """Draws the line; as a context manager it also keeps what is typed off the screen.

    Args:
        stream: the terminal, or what stderr is instead.
        place: where text goes that ``write`` gets before the end.
        live: whether a line that changes can be drawn; without, a count of tokens is said every five seconds.
        say: prints a line by itself.
    """

    def __init__(
        self,
        stream: TextIO,
        place: Place = Place.ELSEWHERE,
        live: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._place = place
        self._live = live
        self._say = say
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._line = ""
        self._shown = False
        self._spinner: threading.Event | None = None
        self._cursor = TextCursor()
        self._held: list[Callable[[], None]] = []
        self._total = self._last_done = 0
        self._start_s = self._last_s = self._next_plain_s = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._stack.enter_context(without_echo(self._stream))
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack, self._lock:
            self.stop()
            if self._cursor.column:
                # The text broke off.
                self._cursor.end_line()
                self._stream.write("\n")
                self._draw()
            self._print_held()

    def stage(self, name: str) -> None:
        """Name the current stage, behind a spinner, until the line changes or text comes."""
        with self._lock:
            self._line = name
            if self._live and self._spinner is None:
                self._spinner = threading.Event()
                threading.Thread(target=self._spin, args=(self._spinner,), daemon=True).start()

    def loading(self, done: int, total: int) -> None:
        """Show how many bytes of the weights are read."""
        self.stage(f"weights {bar(done, total)} {done / 1e9:,.2f} of {total / 1e9:,.2f} GB")

    def start(self, total: int) -> None:
        """Begin to count up to ``total`` tokens."""
        self._total, self._last_done = total, 0
        self._start_s = self._last_s = time.monotonic()
        self._next_plain_s = self._start_s + _PLAIN_LINE_EVERY_S

    def advance(self, done: int) -> None:
        """Show that there are ``done`` tokens; nothing where their text goes into a pipe, which may end up here."""
        now_s = time.monotonic()
        current_tps = (done - self._last_done) / max(now_s - self._last_s, 1e-9)
        average_tps = done / max(now_s - self._start_s, 1e-9)  # prefill included
        self._last_s, self._last_done = now_s, done
        line = f"{done:,} of at most {self._total:,} tokens · {current_tps:,.0f}/s now, {average_tps:,.0f}/s on average"
        if self._live and self._place is not Place.UNKNOWN:
            room = width_of(self._stream) - len(line) - 2
            cells = 0 if self._place is Place.SAME or room < _SHORTEST_BAR_CELLS else min(room, _BAR_CELLS)
            self.show(f"{bar(done, self._total, cells)} {line}".lstrip())
        elif self._place is Place.ELSEWHERE and now_s >= self._next_plain_s:
            self._next_plain_s = now_s + _PLAIN_LINE_EVERY_S
            self._say(line)

    def stop(self) -> None:
        """Erase the line."""
        self.show("")

    def show(self, line: str) -> None:
        """Draw ``line`` in place of the one that is there."""
        with self._lock:
            self._stop_spinner()
            self._line = line
            self._draw()

    def write(self, text: str) -> None:
        """Write ``text`` to stdout, and move the line where the text reaches another row."""
        with self._lock:
            if self._spinner is not None:
                self.stop()
            if self._place is not Place.SAME:
                write(text)
                return
            self._cursor.resize(width_of(self._stream))
            if self._shown and not self._cursor.can_return:
                # A new width has put the text's end there; it takes a character more to erase what follows.
                self._put(text[:1])
                text = text[1:]
            self._put(text)

    def _put(self, text: str) -> None:
        start = self._cursor.column
        moves = self._cursor.advance(text) or not start or not self._cursor.can_return
        if moves and start < self._cursor.width:
            self._erase()
        write(text)
        if not self._cursor.column:
            self._print_held()
        if moves or not self._shown:
            self._draw()

    def aside(self, print_lines: Callable[[], None]) -> None:
        """Call what prints lines of its own to the terminal: between two lines of the answer, or after it."""
        with self._lock:
            self._held.append(print_lines)
            if not self._cursor.column:
                self._erase()
                self._print_held()
                self._draw()

    def _print_held(self) -> None:
        held, self._held = self._held, []
        for print_lines in held:
            print_lines()

    def _spin(self, stopped: threading.Event) -> None:
        for frame in cycle(_SPINNER):
            with self._lock:
                if stopped.is_set():
                    return
                self._draw(f"{frame} ")
            stopped.wait(_SPINNER_EVERY_S)

    def _stop_spinner(self) -> None:
        if self._spinner is not None:
            self._spinner.set()
            self._spinner = None

    def _draw(self, sign: str = "") -> None:
        """Draw the line, or erase it if it is empty, where that leaves the text as it is."""
        self._cursor.resize(width_of(self._stream))
        if not self._cursor.can_return:
            return
        if not self._line:
            self._erase()
        elif self._live:
            line = sign + self._line
            if cell_len(line) >= self._cursor.width:
                line = set_cell_size(line, self._cursor.width - 1)
            place = _GO_BELOW if self._cursor.column else _STAY
            self._stream.write(f"{_ERASE_BELOW}{place}\x1b[2m{line}\x1b[0m{_RETURN}")
            self._stream.flush()
            self._shown = True

    def _erase(self) -> None:
        if self._shown:
            self._stream.write(_ERASE_BELOW)
            self._stream.flush()
            self._shown = False


def bar(done: int, total: int, cells: int = _BAR_CELLS) -> str:
    """Draw how much of ``total`` is done."""
    full = min(cells * done // max(total, 1), cells)
    return "━" * full + "─" * (cells - full)
