"""Fetches a file from the web: by http and https alone, bounded in size and time, and from public addresses.

A name is looked up once, and the connection goes to the address that was checked, so that a name server cannot send it
elsewhere in between.  Redirects are checked like the first address.  Proxies of the environment are not used.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vita_demo.errors import InputError, MediaError
from vita_demo.files.local import temporary_path

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse
    from urllib.parse import SplitResult

MAX_BYTES = 512 << 20
MAX_S = 120.0
SILENCE_S = 20.0
_MAX_REDIRECTS = 5
_NAT64 = "64:ff9b::/96"
_NEVER = ("64:ff9b:1::/48", "2002::/16", "fec0::/10")
"""Networks that stand for others of a machine's own choice, or are local by an older standard."""
_OK = 200
_SAFE = "/?&=%:;,+~@!$'()*[]"
_REDIRECTS = {301, 302, 303, 307, 308}


def fetch(url: str, flag: str, allow_private: bool = False) -> Path:
    """Download a file into a temporary one.

    Args:
        url: the address.
        flag: for the messages of errors.
        allow_private: fetch from this machine and its network too.

    Raises:
        InputError: when the address is none that may be fetched.
        MediaError: when it cannot be fetched, is too large, or takes too long.
    """
    from http.client import HTTPException
    from urllib.parse import urljoin

    end_s = time.monotonic() + MAX_S
    what = f"{flag} {url}"
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            with _response(_checked(url, what), what, allow_private, end_s) as response:
                location = response.headers.get("Location", "")
                if response.status not in _REDIRECTS or not location:
                    path = _save(response, url, what)
                    if time.monotonic() < end_s:
                        return path
                    raise TimeoutError
                url = urljoin(url, location)
        except (OSError, ValueError, HTTPException) as error:
            reason = f"after {MAX_S:.0f} s" if time.monotonic() >= end_s else " ".join(str(error).split())
            raise MediaError(f"{what} cannot be fetched ({reason}); download it and give the file") from error
    raise MediaError(f"{what} is redirected more than {_MAX_REDIRECTS} times; give the file's own address")


def _checked(url: str, what: str) -> "SplitResult":
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{what}: only http and https are fetched; download it and give the file")
    return parts


@contextmanager
def _response(parts: "SplitResult", what: str, allow_private: bool, end_s: float) -> "Iterator[HTTPResponse]":
    import http.client
    import ssl
    from urllib.parse import quote

    secure, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(host, port)
    connection.sock = _connect(host, port, what, allow_private)
    if secure:
        connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
    # A timeout holds for each read; this one ends them all.
    timer = threading.Timer(max(end_s - time.monotonic(), 0), _shut, (connection.sock,))
    timer.start()
    try:
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        connection.request("GET", quote(target, _SAFE), headers={"User-Agent": "vita-demo", "Accept": "*/*"})
        yield connection.getresponse()
    finally:
        timer.cancel()
        connection.close()


def _connect(host: str, port: int, what: str, allow_private: bool) -> "socket.socket":
    import socket

    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in found]
    if not allow_private and not all(map(is_public, addresses)):
        raise InputError(
            f"{what} lies at {addresses[0]}, on this machine or its network; give --allow_private_url if that is meant"
        )
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection((address, port), SILENCE_S)
    return socket.create_connection((addresses[-1], port), SILENCE_S)


def is_public(address: str) -> bool:
    """Whether an IP address, or the one that it stands for, is one of the internet's."""
    import ipaddress

    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in ipaddress.IPv6Network(network) for network in _NEVER):
            return False
        if ip in ipaddress.IPv6Network(_NAT64) or ip.ipv4_mapped:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


def _shut(connection: "socket.socket") -> None:
    import socket

    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _save(response: "HTTPResponse", url: str, what: str) -> Path:
    from urllib.parse import unquote, urlsplit

    if response.status != _OK:
        raise MediaError(f"{what}: the server answers {response.status} {response.reason}; check the address")
    name = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rpartition("/")[2])[-80:].lstrip(".")
    path, left = temporary_path(name or "download"), MAX_BYTES
    with path.open("wb") as file:
        while block := response.read(1 << 16):
            left -= file.write(block)
            if left < 0:
                raise MediaError(f"{what} has more than {MAX_BYTES >> 20} MiB; download it and give the file")
    if response.length:
        raise ConnectionError(f"{response.length:,} bytes are missing")
    return path
