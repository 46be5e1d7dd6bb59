"""Sends an answer, in one piece or as server-sent events, and ends it when its client leaves."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from vita_demo.generation.events import Event
from vita_demo.serving.answer_form import AnswerForm
from vita_demo.serving.api_error import ApiError, defect
from vita_demo.serving.live_answer import ClientLeftError, LiveAnswer
from vita_demo.serving.query import Query
from vita_demo.serving.service import Service

_LOOK_S = 0.5
_PAUSE_S = 0.03
"""Between two chunks: sending one costs as much as many tokens, and nobody reads faster."""
_PING_S = 10.0
_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class AnswerResponse(Response):
    """The answer to a query; it is begun when the response is sent.

    Args:
        service: answers queries.
        query: what is asked.
        form: writes the answer.
        owner: who asks.
    """

    def __init__(self, service: Service, query: Query, form: AnswerForm, owner: str) -> None:
        super().__init__()
        self._service = service
        self._query = query
        self._form = form
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the body has been read."""
        async with self._begun(receive) as live:
            headers = {"x-request-id": live.id}
            if self._query.ignored:
                headers["x-ignored-fields"] = ", ".join(self._query.ignored)
            if self._query.stream:
                await self._stream(live, headers, send)
            else:
                response = JSONResponse(await self._whole(live), headers=headers)
                await response(scope, receive, send)

    @asynccontextmanager
    async def _begun(self, receive: Receive) -> AsyncIterator[LiveAnswer]:
        """Begin the answer; end it with the block, and as soon as the client leaves."""
        leaving = asyncio.create_task(_until_left(receive))
        beginning = asyncio.create_task(self._service.begin(self._query, self._owner))
        try:
            await asyncio.wait({leaving, beginning}, return_when=asyncio.FIRST_COMPLETED)
            if not beginning.done():
                raise ClientLeftError
            live = beginning.result()
            leaving.add_done_callback(lambda task: None if task.cancelled() else live.fail(ClientLeftError()))
            try:
                yield live
            finally:
                self._service.end(live)
        finally:
            leaving.cancel()
            beginning.cancel()

    async def _whole(self, live: LiveAnswer) -> object:
        events: list[Event] = []
        while live.answer is None:
            events += await live.take()
        return self._form.whole(live, events, live.answer)

    async def _stream(self, live: LiveAnswer, headers: dict[str, str], send: Send) -> None:
        """Send the answer as it is made: all text since the last look in one chunk, and pings while there is none."""

        async def write(body: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        pings = _Pings()
        fields = [(name.encode(), value.encode()) for name, value in {**_STREAM_HEADERS, **headers}.items()]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await write(self._form.begin(live))
        try:
            while live.answer is None:
                text = self._form.text(await live.take(_LOOK_S))
                body = text or pings.due(live.stage)
                if body:
                    await write(body)
                    pings.sent()
                if text and live.answer is None:
                    await asyncio.sleep(_PAUSE_S)
            await write(self._form.end(live.answer), more=False)
        except ClientLeftError:
            return
        except ApiError as error:
            await write(self._form.error(error), more=False)
        except Exception:
            await write(self._form.error(defect()), more=False)
            raise


class _Pings:
    """Comments of a stream that has no text to send: what is being done, and where in the queue.

    They keep proxies from cutting the connection.
    """

    def __init__(self) -> None:
        self._stage = ""
        self._sent_s = time.monotonic()

    def due(self, stage: str) -> bytes:
        """Return a comment, if it tells something new or nothing was sent for a while."""
        quiet_s = time.monotonic() - self._sent_s
        if quiet_s < _LOOK_S or (stage == self._stage and quiet_s < _PING_S):
            return b""
        self._stage = stage
        return f": ping {stage}\n\n".encode()

    def sent(self) -> None:
        """Note that something was sent."""
        self._sent_s = time.monotonic()


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
