"""Iterating in a thread: errors arrive, closing stops and joins, no thread is left behind."""

import asyncio
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import pytest

from tests.generation.fakes import pushed
from vita_demo.errors import GenerationError
from vita_demo.generation.background import BackgroundIterator, iterate_async
from vita_demo.generation.stopping import StopSignal


def generation_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vita-demo-generation"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert generation_threads() == []


class Source:
    """Counts up until it is told to stop, and remembers how far it came."""

    def __init__(self, count: int = 10**9, fail_at: int | None = None, pause_s: float = 0.0) -> None:
        self.count, self.fail_at, self.pause_s, self.made = count, fail_at, pause_s, 0

    def __call__(self, signal: StopSignal) -> Iterator[int]:
        for number in range(self.count):
            if number == self.fail_at:
                raise RuntimeError("the thread died")
            if signal.reason is not None:
                return
            time.sleep(self.pause_s)
            self.made += 1
            yield number


def test_all_items_arrive_in_order() -> None:
    assert list(BackgroundIterator(pushed(Source(1000)))) == list(range(1000))


def test_an_error_in_the_thread_arrives_with_its_own_traceback() -> None:
    items = BackgroundIterator(pushed(Source(fail_at=2)))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(RuntimeError, match="the thread died") as caught:
        next(items)
    assert "__call__" in "".join(traceback.format_tb(caught.value.__traceback__))
    assert generation_threads() == []
    with pytest.raises(StopIteration):
        next(items)


def test_closing_stops_the_source_and_joins_the_thread() -> None:
    source = Source(pause_s=0.001)
    items = BackgroundIterator(pushed(source))
    next(items)
    items.close()
    assert generation_threads() == []
    made = source.made
    time.sleep(0.02)
    assert source.made == made
    assert list(items) == []


def test_leaving_the_loop_or_the_block_closes() -> None:
    for number in BackgroundIterator(pushed(Source(pause_s=0.001))):
        if number == 3:
            break
    assert generation_threads() == []
    with BackgroundIterator(pushed(Source(pause_s=0.001))) as items:
        next(items)
    assert generation_threads() == []


def test_a_timeout_is_told_from_a_crash() -> None:
    def slow(signal: StopSignal) -> Iterator[int]:
        yield 1
        while signal.reason is None:
            time.sleep(0.001)

    items = BackgroundIterator(pushed(slow), timeout_s=0.05)
    assert next(items) == 1
    with pytest.raises(GenerationError, match=r"no text came for 0\.05 s"):
        next(items)
    assert generation_threads() == []
    with pytest.raises(RuntimeError, match="the thread died"):
        next(BackgroundIterator(pushed(Source(fail_at=0)), timeout_s=5))


def test_async_iteration_gives_the_same() -> None:
    async def collect() -> list[int]:
        return [item async for item in iterate_async(pushed(Source(100)))]

    assert asyncio.run(collect()) == list(range(100))


def test_async_errors_arrive() -> None:
    async def read() -> None:
        async for _ in iterate_async(pushed(Source(fail_at=2))):
            pass

    with pytest.raises(RuntimeError, match="the thread died"):
        asyncio.run(read())


def test_async_waits_time_out() -> None:
    async def read() -> None:
        async for _ in iterate_async(pushed(Source(pause_s=0.2)), timeout_s=0.02):
            pass

    with pytest.raises(GenerationError, match="no text came"):
        asyncio.run(read())


def test_leaving_async_iteration_joins_the_thread() -> None:
    async def read() -> None:
        items = iterate_async(pushed(Source(pause_s=0.001)))
        async for number in items:
            if number == 3:
                break
        await items.aclose()
        assert generation_threads() == []

    asyncio.run(read())


def test_cancelling_the_reading_task_joins_the_thread() -> None:
    async def read() -> None:
        async for _ in iterate_async(pushed(Source(pause_s=0.001))):
            pass

    async def cancel() -> None:
        task = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert generation_threads() == []

    asyncio.run(cancel())


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_a_timeout_error_of_the_thread_is_raised_as_it_is(timeout_s: float | None) -> None:
    def fail(_signal: StopSignal, _emit: Callable[[int], object]) -> None:
        raise TimeoutError("the client did not answer")

    async def read() -> None:
        async for _ in iterate_async(fail, timeout_s):
            pass

    with pytest.raises(TimeoutError, match="the client did not answer"):
        asyncio.run(read())
