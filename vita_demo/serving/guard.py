"""Who is let in: the check of hosts, origins and keys that stands before every endpoint."""

import ipaddress
import logging
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vita_demo.serving.api_error import ApiError, defect
from vita_demo.serving.keys import Keys
from vita_demo.serving.metrics import ServerMetrics
from vita_demo.serving.server_options import ServerOptions

logger = logging.getLogger("vita_demo.serving")
MAX_HEADER_BYTES = 32_768
_LEFT = 499
_OPEN_PATHS = {"/", "/health", "/ready"}
_PAGE_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]


class Guard:
    """The outermost layer: refuses strangers, counts answers, and keeps what fails inside out of sight.

    A page of another site may send requests to this server through a visitor's browser.  It is refused by its
    ``Origin``, and where it calls its own name for this machine's address (DNS rebinding) by its ``Host``.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions, keys: Keys, metrics: ServerMetrics) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._origins = {origin.lower() for origin in options.allow_origins}
        names = {urlsplit(origin).hostname or "" for origin in self._origins}
        self._hosts = {"localhost", options.host.lower(), *names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request and pass it on."""
        if scope["type"] != "http":
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_PAGE_HEADERS]
            await send(message)

        started = False
        try:
            self._check_size(scope["headers"])
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_host(headers.get("host", ""))
            self._check_origin(headers.get("origin"), headers.get("host", ""))
            scope.setdefault("state", {})["owner"] = self._owner(scope, headers)
            started = True
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            status = _LEFT
        except ApiError as error:
            await error.response()(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 - it is logged, and the client gets its answer
            # Once the app has begun it has answered with ``defect`` itself; the message may hold what was asked.
            logger.error("%s at %s: a defect of the server", type(error).__name__, _place(error))
            logger.debug("%s", "".join(traceback.format_exception(error)))
            if not started:
                await defect().response()(scope, receive, watched)
        finally:
            self._metrics.count_request(scope["path"], status)

    def _check_size(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        size = sum(len(name) + len(value) for name, value in headers)
        if size > MAX_HEADER_BYTES:
            raise ApiError(431, f"the headers have {size:,} bytes; send at most {MAX_HEADER_BYTES:,}")

    def _check_host(self, host: str) -> None:
        name = _host_name(host)
        if not name or not (name in self._hosts or _is_address(name)):
            raise ApiError(
                403,
                f"Host {host[:100]!r} is not a name of this server; reach it by its address, "
                "or start it with --allow_origin https://NAME",
                code="host_not_allowed",
            )

    def _check_origin(self, origin: str | None, host: str) -> None:
        if origin is None or origin.lower() in self._origins:
            return
        if origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            raise ApiError(
                403,
                f"pages of {origin[:100]!r} may not ask this server; start it with --allow_origin to let them",
                code="origin_not_allowed",
            )

    def _owner(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Return who asks: a name of the key, or the address."""
        if self._keys.needed and scope["path"] not in _OPEN_PATHS:
            owner = self._keys.owner_of(headers.get("authorization", ""))
            if owner is None:
                raise ApiError(
                    401,
                    "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'",
                    code="invalid_api_key",
                    headers={"www-authenticate": "Bearer"},
                )
            return owner
        client = scope.get("client")
        return client[0] if client else ""


def _host_name(host: str) -> str:
    """Return a ``Host`` header's name without its port; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
