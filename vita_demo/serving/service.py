"""One model and who asks it: from a query to a live answer, for all endpoints."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vita_demo.checkpoint.locate import EMBEDDED, is_hub_id
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.errors import VitaDemoError
from vita_demo.generation.options import DEFAULT_STOP_STRINGS, GenerationOptions
from vita_demo.scheduling.dialogue import Dialogue, Exchange
from vita_demo.serving.api_error import ApiError, error_of, unavailable
from vita_demo.serving.attachments import AttachmentReader
from vita_demo.serving.fetch import Fetcher
from vita_demo.serving.live_answer import LiveAnswer, Ticket
from vita_demo.serving.logprobs import Logprobs
from vita_demo.serving.loops import Workers
from vita_demo.serving.metrics import ServerMetrics
from vita_demo.serving.query import Query
from vita_demo.serving.server_options import ServerOptions

DRAIN_S = 5.0
_SUBMITTING = 2


class Owner(Protocol):
    """What makes answers; see ``scheduling.owner.ModelOwner``."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What clients may learn of the model and its machine."""

    @property
    def running(self) -> int:
        """Answers that are being made."""

    @property
    def waiting(self) -> int:
        """Answers in the queue."""

    def submit(
        self, dialogue: Dialogue, options: GenerationOptions, *, owner: str = "", notify: Callable[[], None]
    ) -> Ticket:
        """Begin an answer."""

    def close(self) -> None:
        """End all answers."""


@dataclass(frozen=True)
class ModelInfo:
    """What clients learn of the model.

    Attributes:
        name: its name.
        created: when the server was started, in seconds of Unix time.
        positions: the longest conversation.
    """

    name: str
    created: int
    positions: int

    def to_dict(self) -> dict[str, Any]:
        """Return the object that OpenAI's API describes a model with."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "vita-demo",
            "max_model_len": self.positions,
            "architecture": {"input_modalities": ["text", "image", "video", "audio"], "output_modalities": ["text"]},
        }


class Service:
    """Answers queries.

    Args:
        settings: the checkpoint's small files.
        info: what clients learn of the model.
        reader: reads media; an attribute too.
        time_limit_s: the longest generation.
        queue: requests that may wait.

    Attributes:
        model_owner: makes the answers; None while the weights are loaded.
        draining: whether the server is about to end.
        metrics: of all endpoints.
        reading: requests whose media are read.
        live: answers that are being made, by their ids.
    """

    def __init__(
        self, settings: Settings, info: ModelInfo, reader: AttachmentReader, *, time_limit_s: float, queue: int
    ) -> None:
        self.info = info
        self.metrics = ServerMetrics()
        self.model_owner: Owner | None = None
        self.draining = False
        self._logprobs = Logprobs(settings.tokenizer)
        self._defaults = settings.config.generation_defaults
        self.reader = reader
        self._time_limit_s = time_limit_s
        self._queue = queue
        self._workers = Workers(_SUBMITTING, "submit")
        self.reading = 0
        self.live: dict[str, LiveAnswer] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.metrics.watch("running", "Answers that are being made.", lambda: getattr(self.model_owner, "running", 0))
        self.metrics.watch("waiting", "Answers in the queue.", lambda: getattr(self.model_owner, "waiting", 0))
        self.metrics.watch("reading", "Requests whose media are read.", lambda: self.reading)

    def check_ready(self) -> Owner:
        """Return the model's owner.

        Raises:
            ApiError: 503 while the weights are loaded, and when the server is about to end.
        """
        if self.draining:
            raise unavailable("the server is shutting down; ask another, or later", "shutting_down")
        if self.model_owner is None:
            raise unavailable("the weights are being loaded; try again soon", "loading")
        return self.model_owner

    def check_model(self, name: str | None) -> None:
        """Refuse another model's name.

        Raises:
            ApiError: 404.
        """
        if name not in (None, self.info.name):
            message = f"the model {name!r:.100} is not here; ask for {self.info.name}"
            raise ApiError(404, message, param="model", code="model_not_found")

    def logprobs_for(self, query: Query) -> Logprobs | None:
        """Return what tells tokens, if a query asks for them."""
        return self._logprobs if "top_logprobs" in query.options else None

    async def begin(self, query: Query, owner: str) -> LiveAnswer:
        """Read a query's media and begin its answer; ``end`` must follow.

        Raises:
            ApiError: for whatever keeps it from being answered.
        """
        model_owner = self.check_ready()
        self.check_model(query.model)
        options = self._options(query)
        if model_owner.waiting + self.reading >= self._queue:
            raise unavailable(f"{self._queue} requests are waiting already; try again soon", "queue_full")
        self.reading += 1
        try:
            media = await self.reader.read(query.questions, owner)
        finally:
            self.reading -= 1
        exchanges = [
            Exchange(question.text, seen, question.answer)
            for question, seen in zip(query.questions, media, strict=True)
        ]
        dialogue = Dialogue(tuple(exchanges), query.system)
        self.check_ready()
        live = LiveAnswer(owner)
        try:
            await live.begin(
                lambda notify: model_owner.submit(dialogue, options, owner=owner, notify=notify), self._workers
            )
        except VitaDemoError as error:
            raise error_of(error) from error
        self.live[live.id] = live
        self._idle.clear()
        return live

    def end(self, live: LiveAnswer) -> None:
        """Let an answer go; one that has not ended is cancelled."""
        del self.live[live.id]
        if not self.live:
            self._idle.set()
        if live.answer is None:
            live.cancel()
        else:
            self.metrics.count_answer(live.answer)

    def cancel(self, answer_id: str, owner: str) -> None:
        """End an answer with the tokens that it has.

        Raises:
            ApiError: 404 when it is not there, or somebody else's.
        """
        live = self.live.get(answer_id.rpartition("-")[2])
        if live is None or live.owner != owner:
            raise ApiError(404, f"no answer {answer_id[:60]!r} is being made; it may have ended", code="not_found")
        live.cancel()

    def close(self) -> None:
        """Let all threads end."""
        self._workers.close()
        self.reader.close()

    async def drain(self) -> None:
        """Take no more requests, wait for the answers that are being made, and end those that take too long."""
        self.draining = True
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._idle.wait()
        except TimeoutError:
            for live in self.live.values():
                live.fail(unavailable("the server is shutting down; ask another, or later", "shutting_down"))

    def _options(self, query: Query) -> GenerationOptions:
        given = {
            **query.options,
            "stop_strings": DEFAULT_STOP_STRINGS + query.options.get("stop_strings", ()),
            "time_limit_s": min(self._time_limit_s, query.options.get("time_limit_s", self._time_limit_s)),
        }
        try:
            return GenerationOptions.resolve(self._defaults, **given)
        except VitaDemoError as error:
            raise error_of(error) from error


def make_service(settings: Settings, info: ModelInfo, options: ServerOptions) -> Service:
    """Return a service as the options want it, which has no model yet."""
    reader = AttachmentReader(settings.config, Fetcher(options.media_domains, options.max_body_bytes))
    return Service(settings, info, reader, time_limit_s=options.time_limit_s, queue=options.queue)


def model_name(source: ModelSource, settings: Settings) -> str:
    """Return the model's name for clients: its hub id, or its folder's name."""
    path = Path(source.model_path).expanduser()
    if source.model_path != EMBEDDED and not path.is_dir() and is_hub_id(source.model_path):
        return source.model_path
    return settings.folder.resolve().name
