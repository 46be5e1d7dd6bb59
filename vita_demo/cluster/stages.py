"""What runs on the machines of a batch: reading media in tasks, answering in actors that hold the model.

Rows travel as Arrow tables with the columns ``number`` and ``content``, a pickled record.  What fails becomes the row's
own error, and each call returns its rows in the order in which it got them: Ray repeats a call whose machine died, and
takes the second result for the first.  Only who holds the model imports torch.
"""

import os
import pickle
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.source import ModelSource
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.preprocess.media import load_media
from vita_demo.request import Request, check_request
from vita_demo.scheduling.dialogue import Dialogue, Exchange

if TYPE_CHECKING:
    from vita_demo.scheduling.owner import Ticket


def pack(rows: Iterable[tuple[int, Any]]) -> pa.Table:
    """Make a table of numbered records."""
    pairs = [(number, pickle.dumps(record)) for number, record in rows]
    return pa.table(
        {
            "number": pa.array([number for number, _ in pairs], pa.int64()),
            "content": pa.array([content for _, content in pairs], pa.large_binary()),
        }
    )


def unpack(table: pa.Table) -> list[tuple[int, Any]]:
    """Return the numbered records of a table that ``pack`` made."""
    contents = (pickle.loads(content.as_buffer()) for content in table["content"])  # noqa: S301 - a worker made it
    return [*zip(table["number"].to_pylist(), contents, strict=True)]


def failure(error: Exception) -> Event:
    """Return the event that ends a row with its error."""
    return Event("", 0.0, 0, finish_reason="error", error=error)


def read_media(table: pa.Table, config: VitaConfig, folder: str) -> pa.Table:
    """Turn requests into dialogues with media, or into events that say why they cannot be read.

    Args:
        table: requests.
        config: of the model that will see them.
        folder: where relative paths begin, if this machine has it.
    """
    _enter(folder)
    return pack((number, _read(request, config)) for number, request in unpack(table))


def _enter(folder: str) -> None:
    """Let relative paths begin where the command was given, so that messages name files as they do there."""
    with suppress(OSError):
        os.chdir(folder)


def _read(request: Request, config: VitaConfig) -> tuple[Request, Dialogue] | Event:
    try:
        check_request(request)
        media = load_media(request, config, isolated=True)
        return request, Dialogue((Exchange(request.question, media),))
    except Exception as error:  # noqa: BLE001 - it is the row's own
        return failure(error)


class Answerer:
    """One copy of the model: answers the rows of several calls at once, in slots.

    Args:
        source: the model.
        options: how to generate.
        slots: how many answers at once; None takes what fits.
        folder: see ``read_media``.
    """

    def __init__(self, source: ModelSource, options: GenerationOptions, slots: int | None, folder: str) -> None:
        from vita_demo.pipeline import Pipeline

        _enter(folder)
        self._pipeline = Pipeline.of(source)
        self._options = options
        self._owner = self._pipeline.own(slots, waiting=None)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Turn dialogues into the last events of their answers; called from several threads."""
        wakened = threading.Event()
        begun = [(number, self._begin(record, wakened)) for number, record in unpack(table)]
        return pack((number, _end(ticket, wakened)) for number, ticket in begun)

    def _begin(self, record: tuple[Request, Dialogue] | Event, wakened: threading.Event) -> "Ticket | Event":
        if isinstance(record, Event):
            return record
        from vita_demo.engine.features import check_projector

        request, dialogue = record
        try:
            check_projector(self._pipeline.model, request)
            return self._owner.submit(dialogue, self._options, notify=wakened.set)
        except Exception as error:  # noqa: BLE001 - it is the row's own
            return failure(error)


def _end(ticket: "Ticket | Event", wakened: threading.Event) -> Event:
    """Wait for an answer's last event."""
    while not isinstance(ticket, Event):
        wakened.clear()
        events = ticket.take()
        if events and events[-1].finish_reason is not None:
            return events[-1]
        wakened.wait()
    return ticket
