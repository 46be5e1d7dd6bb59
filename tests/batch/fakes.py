"""A pipeline that answers at once, without a model."""

from collections.abc import Iterable, Iterator
from itertools import islice

from vita_demo.answer import Answer
from vita_demo.errors import MediaError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request


class Echo:
    """Answers with the question; ``bad`` in it is an error.  Of each few requests the last is answered first."""

    def __init__(self, together: int = 3) -> None:
        self.asked: list[Request] = []
        self.bad = "bad"
        self._together = together

    def stream_many(
        self,
        requests: Iterable[Request],
        options: GenerationOptions,
        *,
        slots: int | None,
        signal: StopSignal,
        isolated: bool,
    ) -> Iterator[tuple[int, Event]]:
        assert isolated
        numbered = enumerate(requests)
        while some := [*islice(numbered, self._together)]:
            for number, request in reversed(some):
                self.asked.append(request)
                yield number, self._end(request)
                if signal.reason:
                    return

    def _end(self, request: Request) -> Event:
        if self.bad and self.bad in request.question:
            return Event("", 0.0, 0, finish_reason="error", error=MediaError("a bad\nfile"))
        answer = Answer(request.question.upper(), (1, 2, 3), "stop", "text")
        return Event("", 0.0, 3, finish_reason="stop", answer=answer)
