"""Media of a request: read beside, within limits, and gone afterwards; from elsewhere only where it is allowed."""

import base64
import io
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ASSETS
from tests.serving.fakes import FakeOwner
from tests.serving.running import CHAT, Running, body, data_url, eventually, make_certificate, picture
from vita_demo.preprocess.media import Media
from vita_demo.serving import attachments, fetch
from vita_demo.serving.api_error import ApiError
from vita_demo.serving.fetch import Fetcher
from vita_demo.serving.media_cache import MediaCache


def png_of(width: int, height: int) -> str:
    """A picture that says it is so large, in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return base64.b64encode(whole).decode()


def wav_of(seconds: int) -> str:
    """A silent sound."""
    size = seconds * 8000
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    return base64.b64encode(head + b"data" + struct.pack("<I", size) + b"\x80" * size).decode()


def test_several_pictures_in_several_turns(answering: Running, scene: str) -> None:
    messages = [
        {"role": "user", "content": picture(scene)},
        {"role": "assistant", "content": "Shapes."},
        {"role": "user", "content": [*picture(scene, "And these?"), *picture(scene)[:1]]},
    ]
    assert answering.post("/v1/chat/completions", {"messages": messages}).status_code == 200
    first, second = (each.media for each in answering.owner.ticket().dialogue.exchanges)
    assert first.modality == second.modality == "image"
    assert len(second.tiles) == 2 * len(first.tiles)
    assert [note.partition(":")[0] for note in first.notes + second.notes] == ["image 1", "image 2", "image 3"]


def test_a_picture_and_a_voice_in_one_question(answering: Running, scene: str) -> None:
    sound = data_url(ASSETS / "question.wav", "audio/wav")
    parts = [{"type": "audio_url", "audio_url": {"url": sound}}, *picture(scene)[:1]]
    assert answering.chat(parts).status_code == 200
    (exchange,) = answering.owner.ticket().dialogue.exchanges
    assert exchange.question == ""
    assert exchange.media.tiles is not None
    assert exchange.media.fbank is not None
    assert exchange.media.read_s > 0


def test_pictures_and_a_clip_in_one_question_are_seen_in_their_order(answering: Running, scene: str) -> None:
    clip = {"type": "video_url", "video_url": {"url": data_url(ASSETS / "moving.mp4", "video/mp4"), "max_frames": 4}}
    assert answering.chat([*picture(scene), clip]).status_code == 200
    (exchange,) = answering.owner.ticket().dialogue.exchanges
    assert exchange.media.modality == "video"
    assert exchange.media.frames == 4
    assert len(exchange.media.tiles) == 13 + 4
    assert [note.partition(":")[0] for note in exchange.media.notes] == ["image 1", "video 1"]


@pytest.mark.parametrize("form", ["data:image/png;base64,{}", "{}", "data:;base64,{}", "lines", "unpadded"])
def test_all_forms_of_base64(answering: Running, form: str) -> None:
    raw = base64.b64encode((ASSETS / "scene.png").read_bytes()).decode()
    if form == "lines":
        source = "\r\n".join(raw[i : i + 76] for i in range(0, len(raw), 76))
    else:
        source = raw.rstrip("=") if form == "unpadded" else form.format(raw)
    assert answering.chat(picture(source)).status_code == 200


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"type": "image_url", "image_url": png_of(30_000, 30_000)}, "megapixels"),
        ({"type": "input_audio", "input_audio": {"data": wav_of(1000)}}, "lasts 1000.0 s, over the model's"),
        ({"type": "image_url", "image_url": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()}, "image 1 is damaged"),
    ],
)
def test_what_is_too_large_or_damaged_is_said(answering: Running, part: dict, says: str) -> None:
    import re

    answer = answering.chat([part, {"type": "text", "text": "x"}])
    assert answer.status_code == 400
    assert re.search(says, answer.json()["error"]["message"])
    assert answer.json()["error"]["param"] == f"messages[0].content[0].{part['type']}"


def test_files_are_private_while_they_are_read_and_gone_afterwards(
    answering: Running, monkeypatch: pytest.MonkeyPatch, scene: str
) -> None:
    seen = []
    original = attachments.load_media

    def looking(request, *arguments, **options):
        (path,) = request.image_paths
        seen.append([path.parent.parent.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777])
        assert options == {"isolated": True}
        return original(request, *arguments, **options)

    monkeypatch.setattr(attachments, "load_media", looking)
    assert answering.chat(picture(scene)).status_code == 200
    assert answering.chat(picture("AAAA")).status_code == 400
    assert seen == [[0o700, 0o700]] * 2
    folder = answering.server.service.reader.folder
    assert not [*folder.iterdir()]
    answering.server.stop()
    answering.thread.join(30)
    assert not folder.exists()


def test_a_picture_that_comes_again_is_not_read_again(
    serve, monkeypatch: pytest.MonkeyPatch, scene: str, tmp_path
) -> None:
    read = []
    original = attachments.load_media
    monkeypatch.setattr(
        attachments, "load_media", lambda *arguments, **options: read.append(1) or original(*arguments, **options)
    )
    keys = tmp_path / "keys"
    keys.write_text("first-key-of-length\nsecond-key-of-length\n")
    first, second = ({"authorization": f"Bearer {name}-key-of-length"} for name in ("first", "second"))
    with serve(lambda: FakeOwner(("x",)), api_key_file=keys) as server:
        for headers, content, count in (
            (first, picture(scene), 1),
            (first, picture(scene, "Another question."), 1),
            (first, picture(scene, detail="low"), 2),
            (second, picture(scene), 3),
        ):
            assert server.post(CHAT, body(content), headers=headers).status_code == 200
            assert len(read) == count
        known, again = (server.owner.tickets[number].dialogue.exchanges[0].media for number in (0, 1))
    assert known.tiles is again.tiles
    assert known.read_s > again.read_s == 0


def test_the_least_recently_used_media_go_first() -> None:
    cache = MediaCache(1000)
    small = Media(tiles=np.zeros(400, np.uint8))
    cache.put("a", small)
    cache.put("b", small)
    assert cache.get("a") is small
    cache.put("c", small)
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    cache.put("d", Media(tiles=np.zeros(501, np.uint8)))
    assert cache.get("d") is None


def test_reading_has_a_time_limit(answering: Running, monkeypatch: pytest.MonkeyPatch, scene: str) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(attachments, "_READ_LIMIT_S", 0.1)
    monkeypatch.setattr(attachments, "load_media", lambda *_, **__: go_on.wait(30))
    answer = answering.chat(picture(scene))
    go_on.set()
    assert answer.status_code == 400
    assert "to read; send smaller ones" in answer.json()["error"]["message"]
    assert not answering.owner.tickets
    eventually(lambda: not [*answering.server.service.reader.folder.iterdir()])


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example.org/x.png",
        "https://images.example.org:8443/x.png",
        "https://user@images.example.org/x.png",
        "https://images.example.org@evil.example.org/x.png",
        "https://evil.example.org/x.png",
        "https://images.example.org.evil.org/x.png",
        "https://sub.images.example.org/x.png",
        "file:///etc/passwd",
        "ftp://images.example.org/x",
        "https://[::1",
        "https://images.example.org:x/",
    ],
)
def test_other_urls_are_refused_before_anything_is_resolved(url: str) -> None:
    asked = []
    fetcher = Fetcher(["images.example.org"], 1000, lambda host: asked.append(host) or ["1.1.1.1"])
    with pytest.raises(ApiError, match="URL"):
        fetcher.fetch(url)
    assert not asked


def test_a_host_with_a_private_address_is_refused() -> None:
    for addresses in (["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], []):
        fetcher = Fetcher(["images.example.org"], 1000, lambda _, addresses=addresses: addresses)
        with pytest.raises(ApiError, match="not public"):
            fetcher.fetch("https://images.example.org/x.png")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Fetcher, list[str]]]:
    """A fetcher, and the addresses that it connects to: a web server of the test's own answers for them."""
    connected: list[str] = []
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(buffer, "PNG")
    scene = buffer.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            redirect = {
                "/inside": "https://images.example.org/x.png",
                "/outside": "https://evil.example.org/x.png",
                "/plain": "http://images.example.org/x.png",
                "/for-ever": "/for-ever",
            }.get(self.path)
            status = 302 if redirect else 404 if self.path == "/missing" else 200
            self.send_response(status)
            if redirect:
                self.send_header("location", redirect)
            content = b"x" * 5000 if self.path == "/long" else scene
            if self.path != "/long":
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    certificate, key = make_certificate(tmp_path, "DNS:images.example.org", "DNS:other.example.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    create = socket.create_connection

    def connect(address: tuple[str, int], *arguments: object) -> socket.socket:
        connected.append(f"{address[0]}:{address[1]}")
        return create(server.server_address, *arguments)

    monkeypatch.setattr(fetch.socket, "create_connection", connect)
    addresses = iter([["1.1.1.1"], ["1.0.0.1"], ["127.0.0.1"]])
    trusted = ssl.create_default_context(cafile=str(certificate))
    yield Fetcher(["images.example.org", "third.example.org"], 4000, lambda _: next(addresses), trusted), connected
    server.shutdown()
    server.server_close()


def test_what_is_allowed_is_fetched_from_the_address_that_was_checked(elsewhere) -> None:
    fetcher, connected = elsewhere
    assert fetcher.fetch("https://images.example.org/x.png").startswith(b"\x89PNG")
    assert connected == ["1.1.1.1:443"]


def test_redirects_are_checked_each(elsewhere) -> None:
    fetcher, connected = elsewhere
    assert fetcher.fetch("https://images.example.org/inside").startswith(b"\x89PNG")
    assert connected == ["1.1.1.1:443", "1.0.0.1:443"]
    with pytest.raises(ApiError, match="not public"):
        fetcher.fetch("https://images.example.org/inside")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/outside", "--allow_media_domain evil.example.org"),
        ("/plain", "only https"),
        ("/long", "more than 4,000 bytes"),
        ("/missing", "status 404"),
    ],
)
def test_what_goes_elsewhere_or_is_too_long_is_refused(elsewhere, path: str, says: str) -> None:
    fetcher, _ = elsewhere
    with pytest.raises(ApiError, match=says):
        fetcher.fetch(f"https://images.example.org{path}")


def test_redirects_end(elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher, _ = elsewhere
    monkeypatch.setattr(fetcher, "_resolve", lambda _: ["1.1.1.1"])
    with pytest.raises(ApiError, match="redirects more than 3 times"):
        fetcher.fetch("https://images.example.org/for-ever")


def test_a_host_without_its_certificate_is_refused(elsewhere) -> None:
    fetcher, _ = elsewhere
    with pytest.raises(ApiError, match="cannot be fetched"):
        fetcher.fetch("https://third.example.org/x.png")
