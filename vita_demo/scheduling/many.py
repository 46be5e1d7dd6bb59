"""Answers to a list of requests, several at once, driven by whoever reads the events."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.features import check_projector
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import VitaDemoError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
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
) -> Iterator[tuple[int, Event]]:
    """Answer ``requests``; see ``Pipeline.stream_many``.  Closing the iterator ends all answers."""
    scheduler, events = Scheduler(slots), deque[tuple[int, Event]]()
    with ThreadPoolExecutor(_READERS, "vita-demo media") as readers:
        numbered = enumerate(requests)
        ahead: deque[tuple[int, Request, Future[Media]]] = deque()

        def read_ahead() -> None:
            while len(ahead) < slots.count + _READERS and (following := next(numbered, None)) is not None:
                check_request(following[1])
                ahead.append((*following, readers.submit(load_media, following[1], model.config)))

        def submit(number: int, request: Request, media: Future[Media]) -> None:
            put = partial(_put, events, number)
            try:
                check_projector(model, request)
                dialogue = Dialogue((Exchange(request.question, media.result()),))
                scheduler.queue.put(Job(model, tokenizer, dialogue, options, capacity=slots.capacity, on_event=put))
            except VitaDemoError as error:
                put(Event("", 0.0, 0, finish_reason="error", error=error))

        read_ahead()
        while ahead or scheduler.busy:
            # One more than there is room for, so that a slot that becomes free is filled in the same turn; a file is
            # waited for only when there is nothing else to do.
            while ahead and not len(scheduler.queue) and (ahead[0][2].done() or not scheduler.busy):
                submit(*ahead.popleft())
                read_ahead()
            scheduler.turn()
            while events:
                yield events.popleft()


def _put(events: deque[tuple[int, Event]], number: int, event: Event) -> None:
    events.append((number, event))
