"""One copy of the model on some machine, which answers for the servers of the cluster: a deployment of Ray Serve."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from vita_demo.checkpoint.source import ModelSource
from vita_demo.cluster.remote_owner import Update
from vita_demo.errors import GenerationError
from vita_demo.generation.options import GenerationOptions
from vita_demo.scheduling.dialogue import Dialogue
from vita_demo.serving.loops import Workers, call_soon

_SUBMITTING = 2
_LOOK_S = 0.5
_PAUSE_S = 0.02
"""Between two updates: sending one costs as much as many tokens, and a backlog would keep a leaver unheard."""


class Model:
    """Holds the weights, and makes several answers at once.

    Args:
        source: which model.
        slots: how many answers at once; None takes what fits.
    """

    def __init__(self, source: ModelSource, slots: int | None) -> None:
        from vita_demo.pipeline import Pipeline

        self._owner = Pipeline.of(source).own(slots, waiting=None)
        self._workers = Workers(_SUBMITTING, "submit")

    async def answer(self, dialogue: Dialogue, options: GenerationOptions, owner: str) -> AsyncIterator[Update]:
        """Answer, and say what is new whenever something is; who stops listening ends the answer.

        Raises:
            VitaDemoError: see ``ModelOwner.submit``.
        """
        loop, wakened = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            call_soon(loop, wakened.set)

        ticket = await self._workers.run(lambda: self._owner.submit(dialogue, options, owner=owner, notify=notify))
        try:
            ended = begun = False
            while not ended:
                wakened.clear()
                events = tuple(ticket.take())
                # Thousands of ids, which do not change: once is enough.
                prompt = ticket.prompt if events and not begun else {}
                begun = begun or bool(events)
                yield Update(ticket.stage, ticket.place, events, prompt)
                ended = bool(events) and events[-1].finish_reason is not None
                if not ended:
                    # wait_for would lose a cancellation that comes together with an event (before Python 3.12).
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_S):
                            await wakened.wait()
                    await asyncio.sleep(_PAUSE_S)
        finally:
            ticket.cancel()

    def running(self) -> int:
        """Return how many answers are being made."""
        return self._owner.running

    def check_health(self) -> None:
        """Let Ray Serve replace this copy when its thread has ended.

        Raises:
            GenerationError: then.
        """
        if not self._owner.alive:
            raise GenerationError("the thread that owns the model has ended")
