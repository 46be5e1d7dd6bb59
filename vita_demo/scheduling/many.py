"""Answers to a list of requests, several at once, driven by whoever reads the events."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

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


@dataclass(frozen=True)
class ManyAnswers:
    """What makes several answers at once; see ``Pipeline.stream_many``."""

    model: VitaForGeneration
    tokenizer: VitaTokenizer
    options: GenerationOptions
    slots: Slots
    isolated: bool = False

    def stream(self, requests: Iterable[Request], signal: StopSignal) -> Iterator[tuple[int, Event]]:
        """Yield the number of a request and the next event of its answer."""
        scheduler, events = Scheduler(self.slots), deque[tuple[int, Event]]()
        load = partial(load_media, config=self.model.config, isolated=self.isolated)
        with _ReadAhead(requests, load, self.slots.count + 1) as ahead:
            while scheduler.busy or ahead.more:
                # One waits, so that a slot that becomes free is filled in the same turn; a file is waited for only
                # when there is nothing else to do.
                while ahead.more and not len(scheduler.queue) and (ahead.ready or not scheduler.busy):
                    self._submit(scheduler, events, *ahead.take())
                scheduler.turn()
                yield from _drain(events)
                if signal.reason is not None:
                    break
            scheduler.cancel_all(signal.reason or "cancelled")
            while scheduler.busy:
                scheduler.turn()
                yield from _drain(events)

    def _submit(
        self,
        scheduler: Scheduler,
        events: deque[tuple[int, Event]],
        number: int,
        request: Request,
        media: "Future[Media]",
    ) -> None:
        put = partial(_put, events, number)
        try:
            check_projector(self.model, request)
            dialogue = Dialogue((Exchange(request.question, media.result()),))
            capacity = self.slots.capacity
            job = Job(self.model, self.tokenizer, dialogue, self.options, capacity=capacity, on_event=put)
            scheduler.queue.put(job)
        except VitaDemoError as error:
            put(Event("", 0.0, 0, finish_reason="error", error=error))


class _ReadAhead:
    """Reads the files of requests in other threads, a few requests before they are needed.

    Attributes:
        more: whether there is another request.
        ready: whether the next one's files have been read.
    """

    def __init__(self, requests: Iterable[Request], load: Callable[[Request], Media], count: int) -> None:
        self._requests, self._load, self._count = enumerate(requests), load, count
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
            self._reading.append((number, request, self._readers.submit(self._load, request)))


def _drain(events: deque[tuple[int, Event]]) -> Iterator[tuple[int, Event]]:
    while events:
        yield events.popleft()


def _put(events: deque[tuple[int, Event]], number: int, event: Event) -> None:
    events.append((number, event))
