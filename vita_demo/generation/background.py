"""Iterators fed by a thread, so that generation goes on while the reader is busy.

An exception in the thread is raised in the reader with its own traceback.  Closing the iterator, leaving its ``with``
block or ``async for`` loop, or a timeout ends the generation after the current token and joins the thread.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from vita_demo.errors import GenerationError
from vita_demo.generation.events import Event
from vita_demo.generation.stopping import StopSignal

T = TypeVar("T")
Run = Callable[[StopSignal, Callable[[T], object]], object]
"""The thread's function: calls its second argument with each item, and returns soon after the signal is set."""


def text_producer(stream: Callable[[StopSignal], Iterable[Event]]) -> Run[str]:
    """Return a thread's function that calls ``stream`` and emits the text of its events."""

    def run(signal: StopSignal, emit: Callable[[str], object]) -> None:
        for event in stream(signal):
            if event.text:
                emit(event.text)

    return run


@dataclass(frozen=True)
class _End:
    """The last item in a queue."""

    error: BaseException | None


def _start(run: Run[T], signal: StopSignal, emit: Callable[[T | _End], object]) -> threading.Thread:
    def target() -> None:
        error = None
        try:
            run(signal, emit)
        except BaseException as caught:  # noqa: BLE001 - raised again in the reader
            error = caught
        emit(_End(error))

    thread = threading.Thread(target=target, name="vita-demo-generation", daemon=True)
    thread.start()
    return thread


def timeout_error(timeout_s: float | None) -> GenerationError:
    """Return the error of a reader that waited for ``timeout_s`` seconds."""
    return GenerationError(f"no text came for {timeout_s:g} s; raise the timeout")


class BackgroundIterator(Generic[T]):
    """An iterator over the items of a thread; also a context manager.

    Args:
        run: the thread's function.
        timeout_s: the longest wait for one item; None waits for ever.

    Raises:
        GenerationError: from ``next``, when an item takes longer than ``timeout_s``.
    """

    def __init__(self, run: Run[T], timeout_s: float | None = None) -> None:
        self._queue: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._signal = StopSignal()
        self._timeout_s = timeout_s
        self._thread = _start(run, self._signal, self._queue.put)
        self._done = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._done:
            raise StopIteration
        try:
            item = self._queue.get(timeout=self._timeout_s)
        except queue.Empty:
            self._signal.request("timeout")
            self.close()
            raise timeout_error(self._timeout_s) from None
        if not isinstance(item, _End):
            return item
        self.close()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """End the generation after its current token and wait for the thread."""
        self._done = True
        self._signal.request("cancelled")
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_thread"):
            self.close()


async def iterate_async(run: Run[T], timeout_s: float | None = None) -> AsyncGenerator[T, None]:
    """Yield the items of a thread, as ``BackgroundIterator`` does, in an event loop.

    Raises:
        GenerationError: when an item takes longer than ``timeout_s``.
    """
    loop, items = asyncio.get_running_loop(), asyncio.Queue[T | _End]()
    signal = StopSignal()
    thread = _start(run, signal, lambda item: loop.call_soon_threadsafe(items.put_nowait, item))
    try:
        while True:
            try:
                # wait_for would lose a cancellation that comes together with an item (before Python 3.12).
                async with asyncio.timeout(timeout_s):
                    item = await items.get()
            except TimeoutError:
                signal.request("timeout")
                raise timeout_error(timeout_s) from None
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        signal.request("cancelled")
        await asyncio.to_thread(thread.join)
