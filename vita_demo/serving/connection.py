"""One connection: uvicorn's, with limits on how long it may take to ask and to read."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_LIMIT_S = 15.0
READ_LIMIT_S = 30.0


class Connection(H11Protocol):
    """Ends a connection whose headers come too slowly, and one whose client reads nothing of what it is sent.

    uvicorn limits the number of connections, the size of headers, and the time between requests.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_limit: asyncio.TimerHandle | None = None
        self._read_limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with the wait for the first request's headers."""
        super().connection_made(transport)
        self._header_limit = self.loop.call_later(HEADER_LIMIT_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Wait no longer than the limit for the rest of a request's headers."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_header_limit()
        elif self._header_limit is None:
            self._header_limit = self.loop.call_later(HEADER_LIMIT_S, self.transport.abort)

    def pause_writing(self) -> None:
        """Begin to wait for the client, which has not read what it was sent."""
        super().pause_writing()
        self._read_limit = self.loop.call_later(READ_LIMIT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """End that wait."""
        super().resume_writing()
        self._end_read_limit()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waits."""
        self._end_header_limit()
        self._end_read_limit()
        super().connection_lost(exc)

    def _end_header_limit(self) -> None:
        if self._header_limit is not None:
            self._header_limit.cancel()
            self._header_limit = None

    def _end_read_limit(self) -> None:
        if self._read_limit is not None:
            self._read_limit.cancel()
            self._read_limit = None
