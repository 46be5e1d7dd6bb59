"""Files from the web: by two schemes, from public addresses, within bounds."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ASSETS, Run
from vita_demo.errors import InputError, MediaError
from vita_demo.files import download
from vita_demo.files.download import fetch, is_public

CONTENT = bytes(range(256)) * 100


class Answers(BaseHTTPRequestHandler):
    """Answers by the path."""

    def do_GET(self) -> None:
        name = self.path.strip("/").split("?")[0]
        if name.isdigit():
            self.send_response(int(name))
            self.end_headers()
        elif name.startswith("to"):
            self.send_response(302)
            self.send_header(
                "Location", {"to-file": "/file.png", "to-loop": "/to-loop"}.get(name, "file:///etc/passwd")
            )
            self.end_headers()
        else:
            self.send_response(200)
            if name == "cut":
                self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write((ASSETS / name).read_bytes() if name == "scene.png" else CONTENT)
            while name == "drip":
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    served.daemon_threads = True
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("file.png", "file.png"), ("to-file", "file.png"), ("a%20b.png?x=1#y", "a_b.png"), ("猫 1.png", "猫_1.png"),
        ("..%2f..%2fx", "x"), ("x/", "download"),
    ],
)  # fmt: skip
def test_a_file_is_fetched_under_its_name(server: str, name: str, saved: str) -> None:
    path = fetch(f"{server}/{name}", "--image_path", allow_private=True)
    assert path.read_bytes() == CONTENT
    assert path.name == saved


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_https_asks_for_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate, *names], check=True, capture_output=True)
    served = ThreadingHTTPServer(("localhost", 0), Answers)
    served.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    served.socket = context.wrap_socket(served.socket, server_side=True)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    url = f"https://localhost:{served.server_port}"
    with pytest.raises(MediaError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(f"{url}/file.png", "--image_path", allow_private=True)
    trusting = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
    assert fetch(f"{url}/file.png", "--image_path", allow_private=True).read_bytes() == CONTENT
    monkeypatch.setattr(download, "MAX_S", 0.5)
    with pytest.raises(MediaError, match="cannot be fetched"):
        fetch(f"{url}/drip", "--image_path", allow_private=True)
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("command", [("inspect",), ("--question", "?", "--max_new_tokens", "1", "--image_path")])
def test_commands_fetch_what_they_may(vita: Callable[..., Run], server: str, command: tuple[str, ...]) -> None:
    run = vita(*command, f"{server}/scene.png", "--allow_private_url")
    assert run.code == 0
    assert "640 × 480" in run.out + run.err
    assert "--allow_private_url" in vita(*command, f"{server}/scene.png", "--allow_url").error
    assert "is a URL; give --allow_url" in vita(*command, f"{server}/scene.png").error


def test_this_machine_is_asked_only_when_told(server: str) -> None:
    with pytest.raises(InputError, match=r"lies at 127\.0\.0\.1, on this machine .* --allow_private_url"):
        fetch(f"{server}/file.png", "--image_path")


def test_a_redirect_to_this_machine_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address counts as public here."""
    seen: list[str] = []

    def public(address: str) -> bool:
        seen.append(address)
        return len(seen) == 1

    monkeypatch.setattr(download, "is_public", public)
    with pytest.raises(InputError, match="on this machine"):
        fetch(f"{server}/to-file", "--image_path")


@pytest.mark.parametrize(
    ("name", "words"),
    [("404", "answers 404 Not Found"), ("to-loop", "redirected more than 5 times"), ("cut", "are missing")],
)
def test_what_does_not_come_is_an_error(server: str, name: str, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        fetch(f"{server}/{name}", "--image_path", allow_private=True)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "file:///etc/passwd", "http:///x", "gopher://127.0.0.1/x"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="only http and https"):
        fetch(url, "--image_path")


def test_a_redirect_to_another_scheme_is_refused(server: str) -> None:
    with pytest.raises(InputError, match="only http and https"):
        fetch(f"{server}/to-etc", "--image_path", allow_private=True)


def test_size_and_time_are_bounded(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_S", 0.5)
    with pytest.raises(MediaError, match="cannot be fetched"):
        fetch(f"{server}/drip", "--image_path", allow_private=True)
    monkeypatch.undo()
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(MediaError, match="has more than"):
        fetch(f"{server}/file.png", "--image_path", allow_private=True)


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(MediaError, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{port}/x", "--image_path", allow_private=True)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("127.0.0.1", False), ("10.0.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.1", False), ("224.0.0.1", False), ("::1", False), ("fe80::1%eth0", False),
        ("64:ff9b:1::808:808", False), ("fec0::1", False),
        ("fd00::1", False), ("::ffff:127.0.0.1", False), ("2002:7f00:1::", False), ("64:ff9b::a00:1", False),
        ("2001:0:7f00:1::", False),
    ],
)  # fmt: skip
def test_addresses_of_the_internet_are_told_from_others(address: str, public: bool) -> None:
    assert is_public(address) is public
