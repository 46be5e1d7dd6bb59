"""Between an event loop and threads: work that is awaited, and calls from a thread into the loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> None:
    """Let a loop call ``function``, from any thread; nothing happens once the loop is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


class Workers:
    """A few threads that do work for event loops, and that do not keep the process from ending.

    Python waits for the threads of ``asyncio.to_thread`` at exit, however long they take.  A new thread for each piece
    of work would leave memory behind: C's allocator has pools for threads, each with gaps of its own.

    Args:
        count: pieces of work at once.
        name: of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._threads: list[threading.Thread] = []
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self, function: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Run ``function`` when a thread is free, and return its result's future."""
        if len(self._threads) < self._count:
            self._threads.append(threading.Thread(target=self._serve, name=self._name, daemon=True))
            self._threads[-1].start()
        future, work = _promise(function)
        self._work.put(work)
        return future

    def close(self) -> None:
        """Let the threads end when their work is done."""
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def in_daemon(function: Callable[[], Result], name: str) -> "asyncio.Future[Result]":
    """Run ``function`` in a thread of its own; see ``Workers``."""
    future, work = _promise(function)
    threading.Thread(target=work, name=name, daemon=True).start()
    return future


def _promise(function: Callable[[], Result]) -> "tuple[asyncio.Future[Result], Callable[[], None]]":
    """Return a future of the running loop, and what settles it from another thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
            error = raised
        call_soon(loop, settle, result, error)

    return future, work
