"""What ends an answer before its tokens run out: stop strings, a time limit, and whoever asks for it."""

from collections.abc import Sequence

from vita_demo.answer import FinishReason


class StopStrings:
    """Cuts a stream of text before the first stop string.

    Text that may be the beginning of a stop string is held back until the next text decides.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Take some text; return the part that is certainly before any stop string."""
        if not self._strings or self.found:
            return "" if self.found else text
        text = self._held + text
        starts = [start for string in self._strings if (start := text.find(string)) >= 0]
        if starts:
            self.found, self._held = True, ""
            return text[: min(starts)]
        keep = max(_overlap(text, string) for string in self._strings)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what was held back; no stop string came of it."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, string: str) -> int:
    """Length of the longest end of ``text`` that begins ``string``."""
    return next(n for n in range(min(len(text), len(string) - 1), -1, -1) if text.endswith(string[:n]))


class StopSignal:
    """A request to end a running generation after its current token, from any thread."""

    def __init__(self) -> None:
        self.reason: FinishReason | None = None

    def request(self, reason: FinishReason = "cancelled") -> None:
        """Ask the generation to end; the first reason counts."""
        if self.reason is None:
            self.reason = reason
