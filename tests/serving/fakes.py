"""Makes answers by script instead of by a model, so that a test decides when a token comes."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from vita_demo.answer import Answer, PromptSummary
from vita_demo.errors import QueueFullError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.metrics import RunStats
from vita_demo.scheduling.dialogue import Dialogue

PROMPT = PromptSummary(tokens=7, image_tokens=3, audio_tokens=1, cached_tokens=2, free_tokens=100, notes=("a note",))


@dataclass
class FakeTicket:
    """An answer of words, each of which a test lets go."""

    dialogue: Dialogue
    options: GenerationOptions
    owner: str
    notify: Callable[[], None]
    place: int | None = None
    stage: str = "prefill"
    made: int = 0
    cancelled: bool = False
    events: deque[Event] = field(default_factory=deque)

    @property
    def prompt(self) -> dict[str, object]:
        return {"input_ids": [1, 2, 3], "prompt": asdict(PROMPT), "max_new_tokens": 8}

    def take(self) -> list[Event]:
        return [self.events.popleft() for _ in range(len(self.events))]

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self.end("cancelled")

    def say(self, *words: str) -> None:
        """Make a token of each word."""
        self.stage = "decode"
        for word in words:
            self.events.append(Event(word, time.perf_counter(), self.made, 100 + self.made))
            self.made += 1
        self.notify()

    def end(self, reason: str = "stop", text: str = "") -> None:
        """End the answer."""
        stats = RunStats({"queued": 0.5}, 7, self.made, 0.1, 0.1, 0.1, 1.0, (0.1, 0.2))
        answer = Answer(text, tuple(range(100, 100 + self.made)), reason, "text", PROMPT, stats)
        self.events.append(Event("", time.perf_counter(), self.made, finish_reason=reason, answer=answer))
        self.notify()

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self.events.append(Event("", time.perf_counter(), 0, finish_reason="error", error=error))
        self.notify()


class FakeOwner:
    """Takes dialogues and answers none by itself, unless ``words`` say what to answer."""

    def __init__(self, words: tuple[str, ...] | None = None, limit: int = 64) -> None:
        self.about: dict[str, object] = {}
        self.tickets: list[FakeTicket] = []
        self.words = words
        self.limit = limit
        self.waiting = 0
        self.closed = False
        self._new = threading.Condition()

    @property
    def running(self) -> int:
        return len(self.tickets)

    def submit(self, dialogue, options, *, owner="", notify):
        if self.waiting >= self.limit:
            raise QueueFullError("too many requests wait")
        ticket = FakeTicket(dialogue, options, owner, notify)
        with self._new:
            self.tickets.append(ticket)
            self._new.notify_all()
        if self.words is not None:
            ticket.say(*self.words)
            ticket.end(text="".join(self.words))
        return ticket

    def close(self) -> None:
        self.closed = True

    def ticket(self, number: int = -1, count: int = 1) -> FakeTicket:
        """Wait until there are ``count`` tickets; return one of them."""
        with self._new:
            assert self._new.wait_for(lambda: len(self.tickets) >= count, 30)
            return self.tickets[number]
