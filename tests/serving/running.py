"""A server that runs in a thread of the tests, and its clients."""

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from vita_demo.checkpoint.source import ModelSource
from vita_demo.serving.server import ModelServer
from vita_demo.serving.server_options import ServerOptions

OWN_FIELDS = {"timings", "vita"}
"""What answers have beside OpenAI's fields."""
CHAT = "/v1/chat/completions"


def eventually(holds: Callable[[], Any]) -> Any:
    """Wait for something that happens soon in another thread."""
    end_s = time.monotonic() + 30
    while not (found := holds()):
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)
    return found


def data_url(path: Path, kind: str = "image/png") -> str:
    """A file as clients send it."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def make_certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """Make a certificate for ``DNS:…`` and ``IP:…`` names, and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=vita-demo",
         "-addext", f"subjectAltName={','.join(names)}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def picture(url: str, question: str = "Describe this image.", **fields: Any) -> list[dict[str, Any]]:
    """A question about a picture."""
    return [{"type": "image_url", "image_url": {"url": url, **fields}}, {"type": "text", "text": question}]


def body(content: Any = "hi", **fields: Any) -> dict[str, Any]:
    """A request of one question."""
    return {"messages": [{"role": "user", "content": content}], **fields}


def check(model: type, content: dict[str, Any]) -> None:
    """Find every field in the form of OpenAI's types, and none that they do not know."""
    parsed = model.model_validate(content)

    def unknown(value: Any) -> set[str]:
        if isinstance(value, list):
            return {found for each in value for found in unknown(each)}
        if not hasattr(value, "model_extra"):
            return set()
        inner = {found for name in type(value).model_fields for found in unknown(getattr(value, name))}
        return inner | {*(value.model_extra or {})}

    assert unknown(parsed) <= OWN_FIELDS


def chunks_of(text: str) -> list[dict[str, Any]]:
    """The chunks of a stream, which ends as it should."""
    from openai.types.chat import ChatCompletionChunk

    assert "\r" not in text
    assert text.endswith("\n\n")
    events = [event for event in text.split("\n\n")[:-1] if not event.startswith(":")]
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    for chunk in chunks:
        if "error" not in chunk:
            check(ChatCompletionChunk, chunk)
    assert len({chunk["id"] for chunk in chunks if "id" in chunk}) == 1
    return chunks


def text_of(chunks: list[dict[str, Any]]) -> str:
    """The text of a stream."""
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


@dataclass
class Client:
    """Asks a server that runs somewhere."""

    url: str

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60, **arguments)

    def post(self, path: str, fields: Any, **arguments: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=fields, timeout=120, **arguments)

    def post_raw(self, path: str, content: Any, kind: str = "application/json") -> httpx.Response:
        return httpx.post(self.url + path, content=content, headers={"content-type": kind}, timeout=120)

    def chat(self, content: Any = "hi", **fields: Any) -> httpx.Response:
        return self.post(CHAT, body(content, **fields))

    @contextmanager
    def stream(self, path: str = CHAT, **fields: Any) -> Iterator[httpx.Response]:
        content = {**body(), "stream": True, **fields}
        with httpx.stream("POST", self.url + path, json=content, timeout=60) as response:
            yield response


@dataclass
class Running(Client):
    """A server that runs in a thread."""

    server: ModelServer
    thread: threading.Thread
    owner: Any


def make(load: Callable[[], Any], on_ready: Callable[[str], None] = lambda _: None, **options: Any) -> ModelServer:
    """Make a server that does not run yet."""
    options = {"port": 0, **options}
    return ModelServer(ModelSource().read(), "vita-tiny", ServerOptions(**options), load, on_ready)


@contextmanager
def running(load: Callable[[], Any], **options: Any) -> Iterator[Running]:
    """Run a server in a thread; it ends with the block."""
    ready = threading.Event()
    server = make(load, lambda _: ready.set(), **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    owner = None
    try:
        assert ready.wait(60)
        owner = server.service.model_owner
        yield Running(server.address, server, thread, owner)
    finally:
        for ticket in getattr(owner, "tickets", ()):
            ticket.cancel()
        server.stop()
        thread.join(30)
        assert not thread.is_alive()
