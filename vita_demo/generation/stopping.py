"""Ends an answer early: stop strings, and the signal of callbacks and other threads."""

from collections.abc import Sequence

from vita_demo.answer import FinishReason


class StopStrings:
    """Cuts a stream of text before the first stop string.

    Text that may be a stop string's prefix is held back until more text decides.

    Attributes:
        found: whether a stop string occurred.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Add text; return the part that is certainly before any stop string."""
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
        """Return the text held back, which did not become a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, string: str) -> int:
    """Return the length of the longest suffix of ``text`` that is a proper prefix of ``string``."""
    return next(n for n in range(min(len(text), len(string) - 1), -1, -1) if text.endswith(string[:n]))


class StopSignal:
    """A request, from any thread, to end a generation after its current token.

    Attributes:
        reason: the first reason given; None before a request.
    """

    def __init__(self) -> None:
        self.reason: FinishReason | None = None

    def request(self, reason: FinishReason = "cancelled") -> None:
        """Ask the generation to end; later reasons are ignored."""
        if self.reason is None:
            self.reason = reason
