"""Fetches media from allowed hosts, and from nowhere else.

A client that names a URL makes this server connect: that must reach neither this machine nor its network, whatever a
name resolves to, and whatever an answer redirects to.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Collection
from urllib.parse import SplitResult, urljoin, urlsplit

from vita_demo.files.download import is_public
from vita_demo.serving.api_error import ApiError

_MAX_REDIRECTS = 3
_CONNECT_LIMIT_S = 5.0
_TOTAL_LIMIT_S = 20.0
_PIECE_BYTES = 1 << 16
_REDIRECTS = {301, 302, 303, 307, 308}

Resolve = Callable[[str], list[str]]


class Fetcher:
    """Fetches files over https.

    Args:
        domains: the hosts that are allowed, by their full names.
        limit_bytes: the largest file.
        resolve: gives the addresses of a host.
        context: how to check certificates; None trusts what the system trusts.
    """

    def __init__(
        self,
        domains: Collection[str],
        limit_bytes: int,
        resolve: Resolve | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._domains = {domain.lower().rstrip(".") for domain in domains}
        self._limit_bytes = limit_bytes
        self._resolve = resolve or _resolve
        self._context = context

    def fetch(self, url: str) -> bytes:
        """Return the content behind a URL; blocks for up to 20 s.

        Raises:
            ApiError: 400 for a URL that is not allowed, or does not give a file.
        """
        end_s = time.monotonic() + _TOTAL_LIMIT_S
        for _ in range(_MAX_REDIRECTS + 1):
            parts = self._checked(url)
            connection = _PinnedConnection(parts.hostname or "", self._address(parts), self._context)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", target, headers={"accept-encoding": "identity", "user-agent": "vita-demo"})
                response = connection.getresponse()
                if response.status not in _REDIRECTS:
                    return self._read(response, parts, end_s)
                url = urljoin(url, response.getheader("location", ""))
            except (OSError, http.client.HTTPException, UnicodeError) as error:
                raise _refused(parts, f"cannot be fetched ({error})") from error
            finally:
                connection.close()
        raise _refused(parts, f"redirects more than {_MAX_REDIRECTS} times")

    def _checked(self, url: str) -> SplitResult:
        """Return the parts of a URL that is allowed."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower().rstrip("."), parts.port
        except ValueError:
            raise ApiError(400, f"the URL {url[:100]!r} cannot be read; give https://HOST/PATH") from None
        if parts.scheme != "https" or port not in (None, 443) or "@" in parts.netloc:
            raise _refused(parts, "is not allowed: only https on port 443, without a user")
        if host not in self._domains:
            raise _refused(
                parts,
                "is not allowed: send the content as a data URL, or start the server with "
                f"--allow_media_domain {host[:100]}",
            )
        return parts

    def _address(self, parts: SplitResult) -> str:
        """Resolve a host once; what is checked here is what is connected to."""
        try:
            addresses = self._resolve(parts.hostname or "")
        except OSError as error:
            raise _refused(parts, f"cannot be fetched ({error})") from error
        if not addresses or not all(map(is_public, addresses)):
            raise _refused(parts, "is not allowed: its host has an address that is not public")
        return addresses[0]

    def _read(self, response: http.client.HTTPResponse, parts: SplitResult, end_s: float) -> bytes:
        if response.status != http.HTTPStatus.OK:
            raise _refused(parts, f"gives status {response.status}")
        if response.getheader("content-encoding", "identity") != "identity":
            raise _refused(parts, "gives compressed content, which was not asked for")
        content = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            content += piece
            if len(content) > self._limit_bytes:
                raise _refused(parts, f"gives more than {self._limit_bytes:,} bytes")
            if time.monotonic() > end_s:
                raise _refused(parts, f"takes more than {_TOTAL_LIMIT_S:.0f} s")
        return bytes(content)


class _PinnedConnection(http.client.HTTPSConnection):
    """Connects to an address that was checked, and asks for the certificate of the host's name."""

    def __init__(self, host: str, address: str, context: ssl.SSLContext | None) -> None:
        self._tls = context or ssl.create_default_context()
        super().__init__(host, 443, timeout=_CONNECT_LIMIT_S, context=self._tls)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def _resolve(host: str) -> list[str]:
    found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _refused(parts: SplitResult, why: str) -> ApiError:
    return ApiError(400, f"the URL {parts.scheme}://{parts.netloc[:100]}{parts.path[:100]} {why}", code="invalid_url")
