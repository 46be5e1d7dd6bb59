"""Answers of ``POST /ask``: every event of the answer, for ``vita-demo --server``, which shows it as if it ran here."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vita_demo.answer import Answer
from vita_demo.generation.event_record import event_record
from vita_demo.generation.events import Event
from vita_demo.serving.answer_form import sse
from vita_demo.serving.api_error import ApiError
from vita_demo.serving.live_answer import LiveAnswer


class OwnAnswer:
    """Writes one answer.

    Args:
        about: what the server says of its model and its machine.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = about
        self._live: LiveAnswer | None = None
        self._rest = ""

    def begin(self, live: LiveAnswer) -> bytes:
        """Return a comment: what is asked has been understood, and waits."""
        self._live = live
        return b": accepted\n\n"

    def text(self, events: Sequence[Event]) -> bytes:
        """Return the records of all tokens, with the prompt's before the first."""
        records = [event_record(event) for event in events if event.finish_reason is None]
        self._rest = "".join(event.text for event in events if event.finish_reason is not None)
        if records and self._live is not None:
            records.insert(0, self._start(self._live))
            self._live = None
        return b"".join([sse(record) for record in records])

    def end(self, answer: Answer) -> bytes:
        """Return why it ended, the text that went with no token, and the times."""
        start = b"" if self._live is None else sse(self._start(self._live))
        reason, clock_s = answer.finish_reason, time.perf_counter()
        record = {"event": "end", "finish_reason": reason, "text": self._rest, "clock_s": clock_s}
        return start + sse({**record, "stats": asdict(answer.stats)})

    def error(self, error: ApiError) -> bytes:
        """Return the error."""
        return sse(error.content)

    def whole(self, live: LiveAnswer, events: Sequence[Event], answer: Answer) -> dict[str, Any]:  # noqa: ARG002
        """Return the answer as one object."""
        return asdict(answer)

    def _start(self, live: LiveAnswer) -> dict[str, Any]:
        return {"event": "start", "clock_s": time.perf_counter(), **live.prompt, **self._about}
