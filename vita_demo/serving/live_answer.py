"""An answer that is being made: what an event loop sees of the thread that makes it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vita_demo.answer import Answer
from vita_demo.generation.events import Event
from vita_demo.serving.api_error import ApiError, error_of
from vita_demo.serving.loops import Workers, call_soon


class Ticket(Protocol):
    """What the model's owner gives for a dialogue; see ``scheduling.owner.Ticket``."""

    @property
    def place(self) -> int | None:
        """Others before it in the queue; None once it has begun."""

    @property
    def stage(self) -> str:
        """What is being done."""

    @property
    def prompt(self) -> dict[str, Any]:
        """What the model reads."""

    def take(self) -> list[Event]:
        """Return all events since the last call."""

    def cancel(self) -> None:
        """End the answer."""


class ClientLeftError(ApiError):
    """The client has closed its connection; nobody reads this."""

    def __init__(self) -> None:
        super().__init__(499, "the client has left")


class LiveAnswer:
    """One answer, from its beginning to its end.

    Args:
        owner: whose it is.

    Attributes:
        id: names it for clients; cannot be guessed.
        created: when it began, in seconds of Unix time.
        answer: the whole answer, once it has ended without an error.
    """

    def __init__(self, owner: str) -> None:
        self._wake = asyncio.Event()
        self._waits = False
        self.id = secrets.token_hex(12)
        self.created = int(time.time())
        self.owner = owner
        self.answer: Answer | None = None
        self._failure: ApiError | None = None
        self._ticket: Ticket | None = None

    async def begin(self, submit: Callable[[Callable[[], None]], Ticket], workers: Workers) -> None:
        """Begin it, beside the event loop: tokenizing takes a moment.

        Args:
            submit: takes a function that any thread may call when there is something to take.
            workers: call it.
        """
        loop = asyncio.get_running_loop()

        def notify() -> None:
            # Waking the loop costs more than a token is worth, so it is done only for who waits.
            if self._waits:
                self._waits = False
                call_soon(loop, self._wake.set)

        submitting = workers.run(lambda: submit(notify))
        try:
            self._ticket = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # The client has left meanwhile.
            submitting.add_done_callback(_cancel)
            raise

    @property
    def stage(self) -> str:
        """What is being done, with the place in the queue, in two words at most."""
        if self._ticket is None:
            return "queued"
        place = self._ticket.place
        return self._ticket.stage if place is None else f"queue {place}"

    @property
    def prompt(self) -> dict[str, Any]:
        """What the model reads; see ``scheduling.owner.Ticket``."""
        return {} if self._ticket is None else self._ticket.prompt

    def cancel(self) -> None:
        """End the answer with the tokens that it has."""
        if self._ticket is not None:
            self._ticket.cancel()

    def fail(self, error: ApiError) -> None:
        """End the answer, and raise ``error`` where it is awaited."""
        self._failure = self._failure or error
        self.cancel()
        self._wake.set()

    async def take(self, limit_s: float | None = None) -> Sequence[Event]:
        """Return the events that have come, or wait for some; nothing, when none came for ``limit_s``.

        The last one has a finish reason; ``answer`` is then there.

        Raises:
            ApiError: when the answer failed, or the client has left.
        """
        events = self._come()
        if not events:
            self._wake.clear()
            self._waits = True
            # What came before the other thread could know that somebody waits has woken nobody.
            events = self._come()
        if not events:
            try:
                async with asyncio.timeout(limit_s):
                    await self._wake.wait()
            except TimeoutError:
                return ()
            events = self._come()
        self._waits = False
        if events and events[-1].finish_reason is not None:
            last = events[-1]
            if last.answer is None:
                raise error_of(last.error or RuntimeError("an answer ended without one"))
            self.answer = last.answer
        return events

    def _come(self) -> Sequence[Event]:
        if self._failure is not None:
            raise self._failure
        return () if self._ticket is None else self._ticket.take()


def _cancel(submitting: "asyncio.Future[Ticket]") -> None:
    if not submitting.cancelled() and submitting.exception() is None:
        submitting.result().cancel()
