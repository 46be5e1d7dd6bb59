"""Answers to a list of requests, several at once, driven by whoever reads the events."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Self

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.features import check_projector
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import VitaDemoError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request, check_request
from vita_demo.scheduling.dialogue import Dialogue, Exchange
from vita_demo.scheduling.job import Job, Slots
from vita_demo.scheduling.scheduler import Scheduler

_READERS = 2


def stream_many(
    model: VitaForGeneration,
    tokenizer: VitaTokenizer,
    requests: Iterable[Request],
    options: GenerationOptions,
    slots: Slots,
    signal: StopSignal,
) -> Iterator[tuple[int, Event]]:
    """Answer ``requests``; see ``Pipeline.stream_many``."""
    scheduler, events = Scheduler(slots), deque[tuple[int, Event]]()

    def submit(number: int, request: Request, media: Future[Media]) -> None:
        put = partial(_put, events, number)
        try:
            check_projector(model, request)
            dialogue = Dialogue((Exchange(request.question, media.result()),))
            scheduler.queue.put(Job(model, tokenizer, dialogue, options, capacity=slots.capacity, on_event=put))
        except VitaDemoError as error:
            put(Event("", 0.0, 0, finish_reason="error", error=error))

    with _ReadAhead(requests, model.config, slots.count + 1) as ahead:
        while scheduler.busy or ahead.more:
            # One waits, so that a slot that becomes free is filled in the same turn; a file is waited for only when
            # there is nothing else to do.
            while ahead.more and not len(scheduler.queue) and (ahead.ready or not scheduler.busy):
                submit(*ahead.take())
            scheduler.turn()
            yield from _drain(events)
            if signal.reason is not None:
                break
        scheduler.cancel_all(signal.reason or "cancelled")
        while scheduler.busy:
            scheduler.turn()
            yield from _drain(events)


class _ReadAhead:
    """Reads the files of requests in other threads, a few requests before they are needed.

    Attributes:
        more: whether there is another request.
        ready: whether the next one's files have been read.
    """

    def __init__(self, requests: Iterable[Request], config: VitaConfig, count: int) -> None:
        self._requests, self._config, self._count = enumerate(requests), config, count
        self._reading: deque[tuple[int, Request, Future[Media]]] = deque()
        self._readers = ThreadPoolExecutor(_READERS, "vita-demo media")

    def __enter__(self) -> Self:
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    @property
    def more(self) -> bool:
        return bool(self._reading)

    @property
    def ready(self) -> bool:
        return self._reading[0][2].done()

    def take(self) -> tuple[int, Request, Future[Media]]:
        """Take the next request with its number and its media, and begin to read another one's."""
        taken = self._reading.popleft()
        self._read()
        return taken

    def _read(self) -> None:
        while len(self._reading) < self._count and (following := next(self._requests, None)) is not None:
            number, request = following
            check_request(request)
            self._reading.append((number, request, self._readers.submit(load_media, request, self._config)))


def _drain(events: deque[tuple[int, Event]]) -> Iterator[tuple[int, Event]]:
    while events:
        yield events.popleft()


def _put(events: deque[tuple[int, Event]], number: int, event: Event) -> None:
    events.append((number, event))
