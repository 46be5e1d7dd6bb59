"""Who is let in, and what may be asked of the server: the defaults that keep strangers out."""

import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.serving.fakes import FakeOwner
from tests.serving.running import CHAT, Running, body, eventually, make_certificate
from vita_demo.errors import ConfigError, InputError
from vita_demo.serving import connection
from vita_demo.serving.keys import Keys
from vita_demo.serving.server_options import ServerOptions

KEY = "sk-0123456789abcdef"


def key_file(folder: Path) -> Path:
    path = folder / "keys"
    path.write_text(f"# who may ask\n\n{KEY}\n  another-key-of-length  \n")
    return path


# Where it listens


@pytest.mark.parametrize("host", ["::", "192.168.1.5", "vita.example.org"])
def test_other_machines_are_let_in_only_with_a_key_or_on_demand(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--api_key_file .* or --allow_anyone"):
        ServerOptions(host=host)
    ServerOptions(host=host, api_key_file=key_file(tmp_path))
    ServerOptions(host=host, allow_anyone=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert ServerOptions(host=host).is_local


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70000},
        {"queue": 0},
        {"parallel": 0},
        {"max_body_mb": 0},
        {"time_limit_s": -1},
        {"allow_origins": ("vita.example.org",)},
        {"allow_origins": ("https://vita.example.org/path",)},
        {"media_domains": ("https://x.org",)},
        {"media_domains": ("*.x.org",)},
        {"api_key_file": Path("missing")},
        {"ssl_certfile": Path("missing")},
        {"ssl_keyfile": Path(__file__)},
    ],
)
def test_flags_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises((ConfigError, InputError), match="--"):
        ServerOptions(**options)


def test_a_port_in_use_is_said(answering: Running, serve) -> None:
    port = int(answering.url.rpartition(":")[2])
    with pytest.raises(InputError, match=f"--port {port} cannot be listened at"), serve(FakeOwner, port=port):
        pass


# Host and Origin


@pytest.mark.parametrize("host", ["evil.example.org", "evil.example.org:8000", "", "[::1", "localhost.evil.org"])
def test_a_name_that_is_not_the_servers_is_refused(answering: Running, host: str) -> None:
    for path in ("/health", "/v1/models"):
        answer = answering.get(path, headers={"host": host})
        assert answer.status_code == 403, host
        assert answer.json()["error"]["code"] == "host_not_allowed"


def test_names_and_addresses_of_the_server_are_taken(answering: Running) -> None:
    port = answering.url.rpartition(":")[2]
    for host in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", "10.1.2.3"):
        assert answering.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "http://localhost", "file://", "http://["])
def test_pages_of_others_are_refused(answering: Running, origin: str) -> None:
    answer = answering.post(CHAT, body(), headers={"origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert not answering.owner.tickets
    assert "access-control-allow-origin" not in answer.headers


def test_the_servers_own_page_may_ask(answering: Running) -> None:
    assert answering.post(CHAT, body(), headers={"origin": answering.url}).status_code == 200


def test_a_proxys_origin_and_name_may_be_allowed(serve) -> None:
    with serve(lambda: FakeOwner(("x",)), allow_origins=("https://vita.example.org",)) as server:
        for headers in (
            {"origin": "https://vita.example.org"},
            {"origin": "https://vita.example.org", "host": "vita.example.org"},
            {"host": "VITA.example.org"},
        ):
            assert server.post(CHAT, body(), headers=headers).status_code == 200
        assert server.post(CHAT, body(), headers={"origin": "https://other.example.org"}).status_code == 403


# Keys


def test_a_key_is_needed_everywhere_but_at_the_page_and_for_health(serve, tmp_path: Path) -> None:
    with serve(lambda: FakeOwner(("x",)), api_key_file=key_file(tmp_path)) as server:
        for path in ("/v1/models", "/metrics", "/nothing"):
            answer = server.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer # who may ask", "Bearer"):
            answer = server.post(CHAT, body(), headers={"authorization": wrong})
            assert answer.status_code == 401, wrong
            assert KEY not in answer.text
        assert not server.owner.tickets
        assert [server.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
        assert server.get("/").status_code != 401
        for key in (KEY, "another-key-of-length"):
            headers = {"authorization": f"Bearer {key}"}
            assert server.post(CHAT, body(), headers=headers).status_code == 200
        first, second = server.owner.tickets
        assert first.owner != second.owner
        assert KEY not in first.owner


def test_every_key_is_compared_whatever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared = []
    original = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(len(a)) or original(a, b))
    keys = Keys(["first-key-of-length", "second-key-of-length", "third-key-of-length"])
    assert keys.owner_of("Bearer first-key-of-length")
    assert keys.owner_of("Bearer nothing") is None
    assert compared == [32] * 6


@pytest.mark.parametrize(
    ("text", "says"), [("# none\n", "holds no key"), ("short", "less than 16"), (None, "cannot be")]
)
def test_a_useless_key_file_is_refused(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xff\xff" if text is None else text.encode())
    with pytest.raises(InputError, match=says):
        Keys.read(path)


# Sizes and times


def test_a_body_over_the_limit_is_refused_while_it_is_read(serve) -> None:
    with serve(lambda: FakeOwner(("x",)), max_body_mb=0.1) as server:
        long = body("x" * 200_000)
        for answer in (
            server.post(CHAT, long),
            server.post_raw(CHAT, iter([b"x" * 50_000] * 4)),
            server.post_raw(CHAT, iter([b"x" * 101_000])),
        ):
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "body_too_large"
        assert server.post(CHAT, body("x" * 50_000)).status_code == 200


def test_headers_over_the_limit_are_refused(answering: Running) -> None:
    answer = answering.get("/health", headers={"x-long": "x" * 100_000})
    assert answer.status_code == 431


def test_a_client_that_never_asks_is_let_go(answering: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_LIMIT_S", 0.2)
    host, port = answering.url.removeprefix("http://").split(":")
    for sent in (b"", b"GET /health HTTP/1.1\r\nHost: local"):
        with socket.create_connection((host, int(port))) as client:
            client.settimeout(30)
            client.sendall(sent)
            with suppress(ConnectionResetError):
                assert client.recv(100) == b""
    with socket.create_connection((host, int(port))) as client:
        client.settimeout(30)
        for _ in range(2):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.5)


def test_a_client_that_reads_nothing_is_let_go(scripted: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_LIMIT_S", 0.2)
    host, port = scripted.url.removeprefix("http://").split(":")
    content = b'{"stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(head.encode() + f"{len(content)}\r\n\r\n".encode() + content)
        ticket = scripted.owner.ticket()
        for _ in range(100):
            if ticket.cancelled:
                break
            ticket.say("x" * 1_000_000)
            time.sleep(0.05)
        eventually(lambda: ticket.cancelled)


# What is told


def test_nothing_of_a_request_is_logged(answering: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="vita_demo")
    answering.chat("a secret question")
    answering.chat([{"type": "image_url", "image_url": "c2VjcmV0"}, {"type": "text", "text": "secret"}])
    answering.get("/secret%0d%0apath?secret=1")
    assert "secret" not in caplog.text.replace("c2VjcmV0", "secret")


def test_the_page_may_run_its_own_script_only(answering: Running, serve) -> None:
    answer = answering.get("/")
    if answer.status_code == 200:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy
        assert "'sha256-" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    with serve(FakeOwner, page=False) as server:
        assert server.get("/").status_code == 404


def test_the_schema_of_the_framework_is_not_served(answering: Running) -> None:
    assert [answering.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404] * 3


def test_https_with_a_certificate_of_ones_own(serve, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "IP:127.0.0.1")
    with serve(FakeOwner, ssl_certfile=certificate, ssl_keyfile=key) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=certificate)
        assert httpx.get(f"{server.url}/health", verify=context).status_code == 200
    with pytest.raises(InputError, match=r"--ssl_certfile .* cannot be used"), serve(FakeOwner, ssl_certfile=key):
        pass
