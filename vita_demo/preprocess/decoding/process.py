"""The decoding process: reads requests from its stdin and answers on its stdout, until that is closed.

A request is one line of JSON.  An answer has parts, each a line of JSON that is followed by as many bytes as its
``bytes`` says: a sign of life (``beat``), frames, sound, a request's media, a refusal, and the end (``done``).
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vita_demo.preprocess.decoding.answers import Answers, Written
from vita_demo.preprocess.decoding.refusal import Refusal, refusal_of
from vita_demo.preprocess.sampling import Span, Timeline, choose_frames

_MAX_MEMORY_BYTES = 3 << 30
_MAX_REQUEST_S = 330
_NICENESS = 5
_MAX_CHOSEN_BYTES = 3 << 30


def _limit() -> None:
    """Take at most so much memory, and end after so long, also when the process that waits is gone."""
    if sys.platform != "win32":
        import resource
        import signal

        resource.setrlimit(resource.RLIMIT_DATA, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
        signal.alarm(_MAX_REQUEST_S)


def main() -> None:
    """Answer requests one after the other."""
    answers = Written(os.dup(1))
    # What a library prints belongs to nobody.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import av

    av.logging.set_level(None)
    answers.send(kind="ready")
    for line in sys.stdin.buffer:
        try:
            _limit()
            _answer(json.loads(line), answers)
        except Exception as error:  # noqa: BLE001 - it is told to the other process
            refusal = refusal_of(error)
            answers.send(kind="refusal", why=refusal.kind, text=refusal.text)
        else:
            answers.send(kind="done")


def _step_back() -> None:
    """Let whoever computes go first: files are read ahead, while answers are made.

    A process that leads a session shares the processor as a group of its own on Linux, whatever its own niceness is.
    """
    if sys.platform != "win32" and os.nice(0) < _NICENESS:
        os.nice(_NICENESS)
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(f"{_NICENESS}\n", encoding="ascii")


def _answer(request: dict[str, Any], answers: Answers) -> None:
    if request["kind"] == "media":
        _step_back()
        from vita_demo.preprocess.decoding.request import send_media

        send_media(request, answers, _answer)
        return
    path = bytes.fromhex(request["path"])
    if request["kind"] == "sound":
        _send_sound(path, request["max_s"], answers)
    else:
        _send_frames(path, Span(**request["span"]), answers)


def _send_frames(path: bytes, span: Span, answers: Answers) -> None:
    from vita_demo.preprocess.decoding.video import frames_of

    def choose(timeline: Timeline) -> Sequence[int]:
        chosen, total = choose_frames(timeline, span)
        times_s = [timeline.times_s[number] for number in chosen]
        once = sorted(set(chosen))
        answers.send(kind="chosen", total=total, times_s=times_s, frames=[once.index(number) for number in chosen])
        return once

    total_bytes = 0
    for width, height, pixels in frames_of(path, choose, answers.beat):
        total_bytes += len(pixels)
        if total_bytes > _MAX_CHOSEN_BYTES:
            raise Refusal("large", f"its frames of {width} × {height} pixels take over {_MAX_CHOSEN_BYTES >> 30} GiB")
        answers.send(pixels, kind="frame", width=width, height=height)


def _send_sound(path: bytes, max_s: float, answers: Answers) -> None:
    from vita_demo.preprocess.decoding.sound import read_sound

    samples, rate_hz, duration_s = read_sound(path, max_s, answers.beat)
    answers.send(samples.tobytes(), kind="sound", rate_hz=rate_hz, duration_s=duration_s)
