"""The process that decodes media, as it is seen from here: started when needed, and ended by force.

A decoder that hangs, ends itself or takes all memory harms only that process.  One is kept for the next file.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vita_demo.errors import MediaError

START_LIMIT_S = 60.0
SILENCE_LIMIT_S = 8.0
"""Without a sign of life; it gives one every half second, even from within a long file."""
PICTURE_LIMIT_S = 30.0
"""Without a sign of life while pictures are read, whose decoders give none."""
TOTAL_LIMIT_S = 300.0
_WATCH_S = 0.2
_PACKAGE = Path(__file__).parents[1]
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from vita_demo.preprocess.decoding.process import main; main()"
)


class RefusedError(Exception):
    """What the decoding process said instead of an answer; ``why`` is a kind of ``decoding.refusal.Refusal``."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True)
class Reply:
    """A part of an answer."""

    kind: str
    fields: dict[str, Any]
    content: bytes


def ask_decoder(kind: str, path: Path, **fields: Any) -> Iterator[Reply]:
    """Let a decoding process read a file, and yield what it answers.

    Raises:
        RefusedError: when the file cannot be decoded.
        MediaError: when reading it ends the process, or takes too long.
    """
    request = {"kind": kind, "path": os.fsencode(path.absolute()).hex(), **fields}
    yield from _asked[0](request, str(path))


def ask_process(request: dict[str, Any], named: str, silence_s: float | None = None) -> Iterator[Reply]:
    """Yield what a decoding process answers to ``request``, a kind and its fields; see ``ask_decoder``.

    Args:
        request: one that ``decoding.process`` knows.
        named: what is read, for the error's message.
        silence_s: how long to wait for a sign of life; None is ``SILENCE_LIMIT_S``.
    """
    process = _take()
    try:
        yield from process.ask(request, named, SILENCE_LIMIT_S if silence_s is None else silence_s)
    finally:
        _give_back(process)


def answer_here(ask: Callable[[dict[str, Any], str], Iterable[Reply]]) -> None:
    """Let ``ask`` answer instead of another process: this is the decoding process."""
    _asked[0] = ask


def start_decoder() -> None:
    """Start a decoding process in advance, while other things are imported."""
    if not _idle:
        _give_back(_start_another())


@atexit.register
def end_decoders() -> None:
    """End all decoding processes at once, also one that another thread waits for."""
    for process in [*_all]:
        process.end()
    while _idle:
        process = _idle.pop()
        process.close()
        _all.discard(process)


class _Process:
    """One decoding process; a thread ends it when it is silent for too long."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            # -S: nothing of what installed packages do at the start of Python; sys.path is known.
            [sys.executable, "-S", "-c", _CODE, json.dumps([str(_PACKAGE.parent), *map(str, sys.path)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches this process, which then ends the other
        )
        self._stdin: Any = self._child.stdin
        self._stdout: Any = self._child.stdout
        self._ready = False
        self._deadline_s = 0.0
        self.usable = True

    def ask(self, request: dict[str, Any], named: str, silence_s: float) -> Iterator[Reply]:
        """Yield the answer's parts; the process is not usable while one is missing."""
        self.usable = False
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()
        try:
            self._start()
            self._write(request)
            end_s = time.monotonic() + TOTAL_LIMIT_S
            while (reply := self._read(min(silence_s, end_s - time.monotonic()), named)).kind != "done":
                if reply.kind == "refusal":
                    self.usable = True
                    raise RefusedError(reply.fields["why"], reply.fields["text"])
                if reply.kind != "beat":
                    yield reply
            self.usable = True
        finally:
            over.set()

    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return self._child.poll() is None

    def _start(self) -> None:
        if self._ready:
            return
        try:
            self._ready = self._read(START_LIMIT_S, "").kind == "ready"
        except MediaError as error:
            raise MediaError(
                "the process that decodes media does not start; install its library again: "
                "pip install --force-reinstall -c constraints.txt av"
            ) from error

    def end(self) -> None:
        """End it by force, and wait until it is gone."""
        self.usable = False
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """Let go of an ended process's pipes."""
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):
                pipe.close()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(_WATCH_S):
            if time.monotonic() > self._deadline_s:
                self._child.kill()
                return

    def _write(self, request: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # it has ended, as the next read finds
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()

    def _read(self, limit_s: float, named: str) -> Reply:
        self._deadline_s = time.monotonic() + limit_s
        line = self._stdout.readline()
        fields: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"kind": "", "bytes": 0}
        content = self._stdout.read(fields["bytes"])
        if not fields["kind"] or len(content) < fields["bytes"]:
            late = time.monotonic() > self._deadline_s
            how = "takes too long to decode" if late else "makes the decoder end abruptly"
            raise MediaError(f"{named} {how}; save or download it again, or convert it with ffmpeg")
        return Reply(fields["kind"], fields, content)


_asked: list[Callable[[dict[str, Any], str], Iterable[Reply]]] = [ask_process]
_all: set[_Process] = set()
_idle: list[_Process] = []


def _take() -> _Process:
    with suppress(IndexError):
        while True:
            process = _idle.pop()
            if process.is_alive():
                return process
            _give_back(process)
    return _start_another()


def _start_another() -> _Process:
    process = _Process()
    _all.add(process)
    return process


def _give_back(process: _Process) -> None:
    if process.usable and process.is_alive():
        _idle.append(process)
    else:
        process.end()
        process.close()
        _all.discard(process)


def _forget() -> None:
    """In a forked child: the processes are the parent's."""
    _all.clear()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
