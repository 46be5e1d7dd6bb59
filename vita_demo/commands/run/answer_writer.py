"""Writes the answer to stdout, in the form that was asked for, and nothing else."""

from collections.abc import Callable
from typing import Any

from vita_demo.answer import Answer
from vita_demo.checkpoint.special_tokens import STATE_TOKENS
from vita_demo.console.console import print_markdown
from vita_demo.console.display import Display
from vita_demo.generation.event_record import event_record
from vita_demo.generation.events import Event
from vita_demo.stdout import to_json


class AnswerWriter:
    """Takes the events of one run.

    Args:
        display: writes to stdout, and moves what it draws out of the way.
        form: "text" (the whole answer at the end), "live" (as it is made), "markdown" (rendered on a terminal),
            "json" (one object at the end) or "jsonl" (one event a line).
        show_state: write the state token in front of the text.
    """

    def __init__(self, display: Display, form: str, show_state: bool = False) -> None:
        self._display = display
        self._form = form
        self._show_state = show_state

    def event(self, event: Event) -> Event:
        """Write what of an event is due at once; return the event."""
        if self._form == "jsonl":
            self._display.write(to_json(event_record(event)))
        elif self._form == "live":
            end = "" if event.finish_reason is None else "\n"
            self._display.write(self._symbol(event.state) + event.text + end)
        return event

    def end(self, answer: Answer, report: Callable[[], dict[str, Any]]) -> None:
        """Write what is due at the end; ``report`` makes the object that JSON forms print."""
        self._display.stop()
        text = self._symbol(answer.state) + answer.text
        if self._form == "text":
            self._display.write(text + "\n")
        elif self._form == "markdown":
            print_markdown(text)
        elif self._form == "json":
            self._display.write(to_json(report()))
        elif self._form == "jsonl":
            self._display.write(to_json({"event": "answer", **report()}))

    def _symbol(self, state: str | None) -> str:
        """Return the token that stands for a state, where it is to be seen."""
        shown = (symbol for symbol, meaning in STATE_TOKENS.items() if meaning == state)
        return next(shown, "") if self._show_state else ""
