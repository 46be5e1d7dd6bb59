"""The thread that owns the model: everybody else hands it questions and takes events."""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any

from vita_demo.answer import Answer, FinishReason
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import GenerationError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.scheduling.dialogue import Dialogue, Exchange
from vita_demo.scheduling.job import Job, Slots
from vita_demo.scheduling.scheduler import Scheduler

logger = logging.getLogger("vita_demo.scheduling")

# Between two notices of one reader: waking one for every token of a small model would cost as much as the token.
_NOTICE_S = 0.004
_REMEMBERED_ANSWERS = 4096


class Ticket:
    """One answer on its way, read in another thread than the model's.

    Args:
        owner: the thread that makes it.
        notify: called from that thread when there is something to take.

    Attributes:
        job: the answer as it is made.
    """

    job: Job

    def __init__(self, owner: "ModelOwner", notify: Callable[[], None]) -> None:
        self._owner = owner
        self._notify = notify
        self._events: deque[Event] = deque()
        self._noticed_s = float("-inf")
        self._due = False

    @property
    def stage(self) -> str:
        """What is being done; see ``Job``."""
        return self.job.stage

    @property
    def place(self) -> int | None:
        """How many others come before it in the queue; None once it has begun."""
        return self._owner.place(self.job)

    @property
    def prompt(self) -> dict[str, Any]:
        """What the model reads: ``input_ids``, a summary, and the most tokens that may follow; known once it began."""
        return self.job.describe()

    def take(self) -> list[Event]:
        """Return all events since the last call; the last of all has a finish reason."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def cancel(self, reason: FinishReason = "cancelled") -> None:
        """End the answer after its current token, or at once while it waits."""
        self.job.signal.request(reason)
        self._owner.wake()

    def put(self, event: Event) -> None:
        """Add an event, in the model's thread."""
        self._events.append(event)
        self._due = True

    def notice(self, at_once: bool) -> None:
        """Tell the reader what it does not know yet: ``at_once``, or unless it was told something just before."""
        now_s = time.perf_counter()
        if self._due and (at_once or now_s - self._noticed_s >= _NOTICE_S):
            self._due, self._noticed_s = False, now_s
            self._notify()


class AnswerMemory:
    """The ids of answers, which clients send back as text: with other ids no cache would continue them.

    The least recently used of ``limit`` answers is forgotten first.
    """

    def __init__(self, limit: int = _REMEMBERED_ANSWERS) -> None:
        self._ids: OrderedDict[tuple[object, ...], tuple[int, ...]] = OrderedDict()
        self._limit = limit
        self._lock = Lock()

    def keep(self, owner: str, exchange: Exchange, answer: Answer) -> None:
        """Remember the ids of the answer to an open exchange."""
        with self._lock:
            self._ids[_key(owner, exchange, answer.text)] = answer.token_ids
            if len(self._ids) > self._limit:
                self._ids.popitem(last=False)

    def recall(self, owner: str, dialogue: Dialogue) -> Dialogue:
        """Return the dialogue with the ids of those answers that are remembered."""
        return replace(dialogue, exchanges=tuple(self._with_ids(owner, each) for each in dialogue.exchanges))

    def _with_ids(self, owner: str, exchange: Exchange) -> Exchange:
        if exchange.answer is None or exchange.answer_ids:
            return exchange
        key = _key(owner, exchange, exchange.answer)
        with self._lock:
            if key not in self._ids:
                return exchange
            self._ids.move_to_end(key)
            return replace(exchange, answer_ids=self._ids[key])


def _key(owner: str, exchange: Exchange, text: str) -> tuple[object, ...]:
    media = exchange.media
    return owner, exchange.question, media.tile_digests, media.sound_digest, text


class ModelOwner:
    """Makes answers in a thread of its own until it is closed.

    Args:
        model: the weights.
        tokenizer: the checkpoint's.
        slots: caches, which say how many answers are made at once.
        limit: the most requests that wait.

    Attributes:
        slots: as given.
        about: what clients may learn of the model and its machine; empty until somebody sets it.
    """

    def __init__(
        self, model: VitaForGeneration, tokenizer: VitaTokenizer, slots: Slots, limit: int | None = 64
    ) -> None:
        self.slots = slots
        self.about: Mapping[str, Any] = {}
        self._model, self._tokenizer = model, tokenizer
        self._scheduler = Scheduler(slots, limit)
        self._memory = AnswerMemory()
        self._tickets: list[Ticket] = []
        self._lock = Lock()
        self._wakened = Flag()
        self._closed = False
        self._thread = Thread(target=self._run, name="vita-demo model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._scheduler.queue)

    @property
    def running(self) -> int:
        """Answers that are being made."""
        return max(0, len(self._tickets) - self.waiting)

    def submit(
        self,
        dialogue: Dialogue,
        options: GenerationOptions,
        *,
        owner: str = "",
        notify: Callable[[], None] = lambda: None,
    ) -> Ticket:
        """Ask for an answer; tokenizing takes a moment, so do not call it in an event loop.

        Args:
            dialogue: what to answer.
            options: how to generate.
            owner: whose request it is; see ``Job``.
            notify: called from the model's thread when there is something to take, at most every few milliseconds.

        Raises:
            QueueFullError: when as many requests wait as may.
            InputError: when the dialogue does not fit into a slot.
            ConfigError: when the options do not go with several answers at once.
            GenerationError: when the owner was closed.
        """
        ticket = Ticket(self, notify)
        ticket.job = Job(
            self._model,
            self._tokenizer,
            self._memory.recall(owner, dialogue),
            options,
            capacity=self.slots.capacity,
            owner=owner,
            on_event=ticket.put,
        )
        with self._lock:
            if self._closed:
                raise GenerationError("the model is being closed and takes no more requests")
            self._scheduler.queue.put(ticket.job)
            self._tickets.append(ticket)
        self.wake()
        return ticket

    def place(self, job: Job) -> int | None:
        """Return how many jobs come before a waiting one; None when it does not wait."""
        return self._scheduler.queue.place(job)

    def wake(self) -> None:
        """Let the thread look for something to do."""
        self._wakened.set()

    def close(self) -> None:
        """Cancel all answers after their current tokens, and join the thread."""
        with self._lock:
            self._closed = True
            tickets = [*self._tickets]
        for ticket in tickets:
            ticket.cancel()
        self.wake()
        self._thread.join()

    def _run(self) -> None:
        while not (self._closed and not self._scheduler.busy):
            if not self._scheduler.busy:
                self._wakened.wait()
            self._wakened.clear()
            if self._scheduler.reads:
                # What comes next may take long: nobody shall wait for text that is there.
                self._notice(at_once=True)
            try:
                self._scheduler.turn()
            except Exception as error:
                logger.exception("the scheduler failed")
                self._scheduler.end_all(error)
            self._notice()

    def _notice(self, at_once: bool = False) -> None:
        """Tell readers of their events, and let go of answers that have ended."""
        with self._lock:
            tickets = [*self._tickets]
        for ticket in tickets:
            ended = ticket.stage == "done"
            if ended:
                self._forget(ticket)
            ticket.notice(at_once or ended)

    def _forget(self, ticket: Ticket) -> None:
        job = ticket.job
        if job.answer is not None and job.answer.token_ids:
            self._memory.keep(job.owner, job.dialogue.exchanges[-1], job.answer)
        with self._lock:
            self._tickets.remove(ticket)
