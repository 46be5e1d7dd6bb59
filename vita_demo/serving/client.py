"""Asks a model behind ``vita-demo serve``.  No torch: what is loaded there need not be loaded here."""

import base64
import json
import os
import queue
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vita_demo.answer import Answer, PromptSummary
from vita_demo.errors import GenerationError, InputError, MediaError, VitaDemoError
from vita_demo.generation.callbacks import CallbackList, GenerationCallback, Watch
from vita_demo.generation.event_record import token_event
from vita_demo.generation.events import Event
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder, RunStats
from vita_demo.request import Request

KEY_VARIABLE = "VITA_DEMO_API_KEY"
_SILENCE_S = 60.0
"""The server says something every 10 s."""
_LOOK_S = 0.1
_PING = b": ping "
_OK, _BAD_REQUEST, _NO_KEY, _NOT_FOUND = 200, (400, 413), 401, 404
Lines = queue.SimpleQueue[bytes]


class RemoteModel:
    """A model that a server has.

    Args:
        url: the server's address.

    Attributes:
        about: what the server says of its model and its machine, once it answers.

    Raises:
        InputError: when ``url`` is no address.
    """

    def __init__(self, url: str) -> None:
        try:
            address = urlsplit(url if "://" in url else f"http://{url}")
            self._host, self._port = address.hostname or "", address.port
        except ValueError:
            address, self._host = urlsplit(""), ""
        if address.scheme not in ("http", "https") or not self._host:
            raise InputError(f"--server {url} is no address; give one such as http://127.0.0.1:8000")
        self._url, self._secure, self._path = url, address.scheme == "https", address.path.rstrip("/")
        self.about: Mapping[str, Any] = {}

    def stream(
        self,
        request: Request,
        options: Mapping[str, Any],
        *,
        callbacks: Sequence[GenerationCallback] = (),
        strict: bool = False,
        signal: StopSignal | None = None,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """Answer ``request`` token by token, as ``Pipeline.stream`` does; closing the iterator ends the answer.

        Args:
            request: what to answer; its files are sent.
            options: fields of ``POST /ask`` that say how to generate.
            callbacks: who watches, here.
            strict: see ``CallbackList``.
            signal: ends the answer.
            on_stage: learns what the server does before the first token.

        Raises:
            InputError: when the server does not take what is asked.
            GenerationError: when it cannot be reached, or fails.
        """
        signal, recorder = signal or StopSignal(), _Recorder()
        with self._asked(request, options) as lines:
            records = self._records(lines, signal, on_stage)
            start = next(records, None)
            if start is None:
                yield _unread(signal, recorder)
                return
            offset_s = recorder.clock() - start["clock_s"]
            self.about = {name: start.get(name) for name in ("model", "host", "trained_positions")}
            calls = CallbackList(callbacks, strict, max_new_tokens=start["max_new_tokens"])
            prompt = PromptSummary.from_json(start["prompt"])
            notes = tuple(_with_name(note, request, lambda path: path.name) for note in prompt.notes)
            watch = Watch(calls, signal, recorder, replace(prompt, notes=notes))
            with watch.hooks(start["input_ids"]):
                yield from _events(records, watch, recorder, signal, offset_s)

    @contextmanager
    def _asked(self, request: Request, options: Mapping[str, Any]) -> Iterator[Lines]:
        """Send the question; leave the server, which ends the answer, with the block."""
        content = _body(request, options)
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
        connection = self._connection()
        try:
            try:
                connection.request("POST", f"{self._path}/ask", json.dumps(content).encode(), headers)
                connected = connection.sock
                response = connection.getresponse()
                refusal = None if response.status == _OK else self._refusal(response, request)
            except (OSError, HTTPException) as error:
                reason = str(error) or type(error).__name__
                raise GenerationError(
                    f"--server {self._url} cannot be reached ({reason}); start it with vita-demo serve"
                ) from error
            if refusal is not None:
                raise refusal
            with _read_beside(response, connected) as lines:
                yield lines
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        if self._secure:
            return HTTPSConnection(self._host, self._port, timeout=_SILENCE_S, context=ssl.create_default_context())
        return HTTPConnection(self._host, self._port, timeout=_SILENCE_S)

    def _refusal(self, response: HTTPResponse, request: Request) -> VitaDemoError:
        """Return what the server says against the request."""
        try:
            message = str(json.loads(response.read())["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = f"status {response.status}"
        if response.status == _NO_KEY:
            return InputError(f"--server {self._url} wants an API key; set {KEY_VARIABLE}")
        if response.status == _NOT_FOUND:
            return InputError(f"--server {self._url} is no vita-demo serve, or an older one; start it anew")
        if response.status not in _BAD_REQUEST:
            return GenerationError(f"--server {self._url}: {message}")
        named = _with_name(message, request, str)
        return InputError(message) if named == message else MediaError(named)

    def _records(self, lines: Lines, signal: StopSignal, on_stage: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        """Yield the events of a stream until ``signal`` is set."""
        while signal.reason is None:
            try:
                line = lines.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if not line:
                raise GenerationError(f"--server {self._url} ended before its answer did; ask again")
            if line.startswith(_PING):
                on_stage(line.removeprefix(_PING).decode().strip())
            elif line.startswith(b"data: "):
                record = json.loads(line.removeprefix(b"data: "))
                if "error" in record:
                    raise GenerationError(str(record["error"]["message"]))
                yield record


class _Recorder(RunRecorder):
    """The times as they are seen here, unless the server has told its own at the end."""

    told: RunStats | None = None

    def finish(self, prompt_positions: int, end: float) -> RunStats:
        """Return the statistics; see ``RunRecorder``."""
        return self.told or super().finish(prompt_positions, end)


def _events(
    records: Iterator[dict[str, Any]], watch: Watch, recorder: _Recorder, signal: StopSignal, offset_s: float
) -> Iterator[Event]:
    """Yield the events of what follows the prompt's record; times become those of this machine's clock."""
    count = 0
    for record in records:
        if record["event"] == "token":
            count += 1
            yield watch.see(token_event(record, offset_s))
        else:
            recorder.told = RunStats.from_json(record["stats"])
            clock_s = record["clock_s"] + offset_s
            yield watch.see(Event(record["text"], clock_s, count, finish_reason=record["finish_reason"]))
            return
    yield watch.see(Event("", recorder.clock(), count, finish_reason=signal.reason))


def _unread(signal: StopSignal, recorder: _Recorder) -> Event:
    """Return the only event of an answer that was ended before it began."""
    reason, now_s = signal.reason or "cancelled", recorder.clock()
    answer = Answer("", (), reason, stats=recorder.finish(0, now_s))
    return Event("", now_s, 0, finish_reason=reason, answer=answer)


@contextmanager
def _read_beside(response: HTTPResponse, connected: socket.socket) -> Iterator[Lines]:
    """Let a thread read the lines of a response, so that waiting for one can be given up; an empty one is the end."""
    lines: Lines = queue.SimpleQueue()

    def read() -> None:
        try:
            with suppress(OSError, HTTPException):  # whoever waits learns that it ended
                for line in response:
                    lines.put(line)
        finally:
            lines.put(b"")

    thread = threading.Thread(target=read, name="vita-demo-client", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        with suppress(OSError):  # the server may have closed it
            connected.shutdown(socket.SHUT_RDWR)
        thread.join()


def _body(request: Request, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that asks for an answer."""
    if request.video_path is not None and request.video_path.is_dir():
        raise InputError(f"--video_path {request.video_path} is a folder, and --server takes files; give a video")
    parts: list[dict[str, Any]] = [
        {"type": f"{kind}_url", f"{kind}_url": {"url": _data_url(path)}} for kind, _, path in _media(request)
    ]
    if request.question:
        parts.append({"type": "text", "text": request.question})
    sampling = {"fps": request.fps, "max_frames": request.max_frames, "start": request.start_s, "end": request.end_s}
    content = {"messages": [{"role": "user", "content": parts}], **sampling, **options}
    return {name: value for name, value in content.items() if value is not None}


def _media(request: Request) -> list[tuple[str, int, Path]]:
    """Return the files with their kinds and numbers, by which the server calls them."""
    pictures = [("image", number, path) for number, path in enumerate(request.image_paths, 1)]
    others = (("video", request.video_path), ("audio", request.audio_path))
    return pictures + [(kind, 1, path) for kind, path in others if path is not None]


def _with_name(message: str, request: Request, name: Callable[[Path], str]) -> str:
    """Name the file that a message begins with."""
    for kind, number, path in _media(request):
        found = re.match(rf"{kind} {number}\b", message)
        if found:
            return f"{kind} {name(path)}{message[found.end() :]}"
    return message


def _data_url(path: Path) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(path.read_bytes()).decode()}"
