"""Reads bodies: JSON only, with a limit that holds while they come in."""

import asyncio
import json
from typing import Any, NoReturn

from starlette.requests import Request

from vita_demo.serving.api_error import ApiError, unavailable
from vita_demo.serving.fields import bad_request, join, json_kind

_READ_LIMIT_S = 60.0
_BODIES_AT_ONCE = 8
"""So many of the largest size may be in memory."""
_DISCARDED = 3
"""A body that is too large is read up to so many times the limit, and thrown away."""
_MAX_FIELDS_SHOWN = 80


class BodyReader:
    """Reads the bodies of all requests.

    Args:
        limit_bytes: the largest body.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    async def read(self, request: Request) -> dict[str, Any]:
        """Return the JSON object that a request brings.

        Raises:
            ApiError: 413 for too much, 415 for another type, 408 for what comes too slowly, 400 for no object, 503
                when other bodies take the memory.
            ClientDisconnect: when the client has left (starlette's).
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, f"the body's type is {kind[:60]!r}; send JSON with content-type: application/json")
        length = request.headers.get("content-length", "")
        too_large = length.isdigit() and int(length) > self._limit_bytes
        if too_large and "expect" in request.headers:
            raise self._too_large()
        content = bytearray()
        try:
            async with asyncio.timeout(_READ_LIMIT_S):
                received = 0
                async for piece in request.stream():
                    received += len(piece)
                    too_large = too_large or received > self._limit_bytes
                    # A client that is still sending would see a broken connection instead of the answer.
                    if received > _DISCARDED * self._limit_bytes:
                        break
                    if not too_large:
                        self._hold(content, piece)
        except TimeoutError:
            raise ApiError(408, f"the body took more than {_READ_LIMIT_S:.0f} s to arrive; send less") from None
        finally:
            self._held_bytes -= len(content)
        if too_large:
            raise self._too_large()
        return parse_object(content)

    def _hold(self, content: bytearray, piece: bytes) -> None:
        if self._held_bytes + len(piece) > _BODIES_AT_ONCE * self._limit_bytes:
            raise unavailable("other requests' bodies take the memory; try again", "busy")
        content += piece
        self._held_bytes += len(piece)

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"the body has more than {self._limit_bytes:,} bytes; send smaller media, or start the server with a "
            "higher --max_body_mb",
            code="body_too_large",
            headers={"connection": "close"},
        )


def parse_object(content: bytes | bytearray) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ApiError: 400 when it is none.
    """
    try:
        parsed = json.loads(content, parse_constant=_refuse_constant)
        if b"\\u" in content:
            _check_texts(parsed, "")
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply; send a plain object") from None
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON ({str(error)[:_MAX_FIELDS_SHOWN]}); send a JSON object") from None
    if not isinstance(parsed, dict):
        raise ApiError(400, f"the body is {json_kind(parsed)}; send an object with its fields")
    return parsed


def _check_texts(value: Any, where: str) -> None:
    """Refuse half a character, which the escape of a lone surrogate brings: no tokenizer and no answer can have it."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key, where)
            _check_texts(item, join(where, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_texts(item, join(where, number))
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise bad_request(
                f"{where or 'the body'} has half a character (a lone surrogate) at {error.start}; send whole ones",
                where or None,
            ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
