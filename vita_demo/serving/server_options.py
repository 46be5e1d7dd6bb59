"""How the server is set up: what the command line says of it."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from vita_demo.errors import ConfigError, InputError
from vita_demo.request import check_file


@dataclass(frozen=True)
class ServerOptions:
    """The flags of ``vita-demo serve``.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        api_key_file: one key a line; None asks for none.
        allow_anyone: serve on other addresses than this machine's own without a key.
        allow_origins: origins of pages, beside the server's own, that may ask.
        queue: requests that may wait.
        parallel: answers that are made at once; None leaves it to the model's owner.
        media_domains: hosts that media may be fetched from.
        max_body_mb: the largest body of a request, in MB of 10⁶ bytes.
        time_limit_s: the longest generation.
        ssl_certfile, ssl_keyfile: for https.
        page: whether there is a page for people.

    Raises:
        ConfigError: when they contradict each other or are out of range.
        InputError: when a file does not exist.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key_file: Path | None = None
    allow_anyone: bool = False
    allow_origins: tuple[str, ...] = ()
    queue: int = 64
    parallel: int | None = None
    media_domains: tuple[str, ...] = ()
    max_body_mb: float = 32
    time_limit_s: float = 300
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    page: bool = True

    def __post_init__(self) -> None:
        """Validate the flags before anything is loaded."""
        self._check_ranges()
        for name in ("api_key_file", "ssl_certfile", "ssl_keyfile"):
            path = getattr(self, name)
            if path is not None:
                check_file(path, f"--{name}")
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ConfigError(f"--ssl_keyfile {self.ssl_keyfile} needs --ssl_certfile; give both")
        if not (self.is_local or self.api_key_file or self.allow_anyone):
            raise ConfigError(
                f"--host {self.host} lets other machines in: give --api_key_file FILE with one key a line, "
                "or --allow_anyone to serve without"
            )

    def _check_ranges(self) -> None:
        checks = (
            ("port", 0 <= self.port <= 65535, "between 0 and 65535"),
            ("queue", self.queue >= 1, "at least 1"),
            ("parallel", self.parallel is None or self.parallel >= 1, "at least 1"),
            ("max_body_mb", 0 < self.max_body_mb <= 1024, "above 0 and at most 1024"),
            ("time_limit_s", 0 < self.time_limit_s < float("inf"), "above 0 seconds"),
        )
        for name, holds, rule in checks:
            if not holds:
                raise ConfigError(f"--{name} {getattr(self, name)} must be {rule}")
        for origin in self.allow_origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise InputError(f"--allow_origin {origin} is no origin; give one like https://vita.example.org")
        for domain in self.media_domains:
            if not domain or set(domain) & set("/:@*"):
                raise InputError(f"--allow_media_domain {domain} is no host name; give one like images.example.org")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def max_body_bytes(self) -> int:
        """The largest body of a request."""
        return int(self.max_body_mb * 1_000_000)
