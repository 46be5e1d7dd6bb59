"""Between an event loop and threads: work that is awaited, and calls from a thread into the loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> None:
    """Let a loop call ``function``, from any thread; nothing happens once the loop is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def in_daemon(function: Callable[[], Result], name: str) -> "asyncio.Future[Result]":
    """Run ``function`` in a thread that does not keep the process from ending, and return its result's future.

    Python waits for the threads of ``asyncio.to_thread`` at exit, however long they take.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
            error = raised
        call_soon(loop, settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
