"""What stands in for the model's owner in a server whose models are on other machines."""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError

from vita_demo.answer import Answer, PromptSummary
from vita_demo.errors import GenerationError, VitaDemoError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.scheduling.dialogue import Dialogue

_TRIES = 4


@dataclass(frozen=True)
class Update:
    """What is new of an answer that is made elsewhere.

    Attributes:
        stage, place: see ``scheduling.owner.Ticket``.
        events: all since the last update.
        prompt: see ``scheduling.owner.Ticket``; with the first events, else empty.
    """

    stage: str
    place: int | None
    events: tuple[Event, ...]
    prompt: dict[str, Any]


class RemoteTicket:
    """One answer that is made on another machine; see ``scheduling.owner.Ticket``."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._events: deque[Event] = deque()
        self._said: list[Event] = []
        self.prompt: dict[str, Any] = {}
        self.following: Future[None] | None = None
        self.stage = "queued"
        self.place: int | None = None
        self.ended = False

    @property
    def begun(self) -> bool:
        """Whether its reader may have seen something of it."""
        return bool(self._said)

    def take(self) -> list[Event]:
        """Return all events since the last call; the last of all has a finish reason."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def cancel(self) -> None:
        """End the answer with the tokens that are here; the other machine learns it."""
        if not self.ended:
            ids = tuple(event.token_id for event in self._said if event.token_id is not None)
            prompt = PromptSummary(**self.prompt.get("prompt", {"tokens": 0}))
            answer = Answer("".join(event.text for event in self._said), ids, "cancelled", None, prompt)
            self._put(Event("", time.perf_counter(), len(ids), finish_reason="cancelled", answer=answer))
        if self.following is not None:
            self.following.cancel()

    def update(self, update: Update) -> None:
        """Take over what is new."""
        self.stage, self.place = update.stage, update.place
        self.prompt = update.prompt or self.prompt
        for event in update.events:
            self._put(event)

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self._put(Event("", time.perf_counter(), 0, finish_reason="error", error=error))

    def _put(self, event: Event) -> None:
        if not self.ended:
            self.ended = event.finish_reason is not None
            self._said.append(event)
            self._events.append(event)
            self._notify()


def session_of(owner: str, dialogue: Dialogue) -> str:
    """Name the conversation that a dialogue belongs to, by how it began.

    Ray Serve sends equal names to the same copy as long as that lives and has room, and there the prefix is cached.
    """
    first = dialogue.exchanges[0]
    begun = repr((owner, dialogue.system, first.question, first.media.tile_digests, first.media.sound_digest))
    return hashlib.sha256(begun.encode()).hexdigest()


class RemoteOwner:
    """Asks the copies of the model for answers, through a handle of Ray Serve.

    Where a copy dies, another one is asked, unless the reader has seen a part of the answer already.

    Args:
        handle: of the deployment of ``Model``.
        loop: the event loop in which answers are followed.

    Attributes:
        about: nothing: each copy has its own machine.
    """

    def __init__(self, handle: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.about: Mapping[str, Any] = {}
        self._handle, self._loop = handle, loop
        self._tickets: set[RemoteTicket] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return sum(ticket.stage == "queued" for ticket in [*self._tickets])

    @property
    def running(self) -> int:
        """Answers that are being made."""
        return len(self._tickets) - self.waiting

    def submit(
        self, dialogue: Dialogue, options: GenerationOptions, *, owner: str = "", notify: Callable[[], None]
    ) -> RemoteTicket:
        """Ask for an answer, from any thread; what keeps it from being answered comes as an event."""
        ticket = RemoteTicket(notify)
        self._tickets.add(ticket)
        following = asyncio.run_coroutine_threadsafe(self._follow(ticket, dialogue, options, owner), self._loop)
        following.add_done_callback(lambda _: self._tickets.discard(ticket))
        ticket.following = following
        return ticket

    def close(self) -> None:
        """Cancel all answers."""
        for ticket in [*self._tickets]:
            ticket.cancel()

    async def _follow(self, ticket: RemoteTicket, dialogue: Dialogue, options: GenerationOptions, owner: str) -> None:
        session, tries = session_of(owner, dialogue), 0
        while not ticket.ended:
            tries += 1
            try:
                await self._listen(ticket, session, dialogue, options, owner)
            except RayTaskError as error:
                ticket.fail(error.cause if isinstance(error.cause, VitaDemoError) else error)
            except RayError:
                # The copy has died, or its machine.
                if ticket.begun or tries == _TRIES:
                    ticket.fail(GenerationError("the machine that made this answer is gone; ask again"))
                ticket.stage = "queued"

    async def _listen(
        self, ticket: RemoteTicket, session: str, dialogue: Dialogue, options: GenerationOptions, owner: str
    ) -> None:
        handle = self._handle.options(stream=True, session_id=session)
        updates = handle.answer.remote(dialogue, options, owner)
        try:
            async for update in updates:
                ticket.update(update)
        finally:
            updates.cancel()
