"""The decoding process: reads requests from its stdin and answers on its stdout, until that is closed.

A request is one line of JSON.  An answer has parts, each a line of JSON that is followed by as many bytes as its
``bytes`` says: a sign of life (``beat``), frames, sound, a refusal, and the end (``done``).
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from vita_demo.errors import MediaError
from vita_demo.preprocess.decoding.refusal import Refusal, reason
from vita_demo.preprocess.sampling import Span, Timeline, choose_frames

BEAT_S = 0.5
_MAX_MEMORY_BYTES = 3 << 30
_MAX_REQUEST_S = 330
_MAX_CHOSEN_BYTES = 3 << 30


class _Answers:
    """Writes answers, and a beat when half a second went by since the last."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb")
        self._last = time.monotonic()

    def send(self, content: bytes = b"", **fields: Any) -> None:
        self._file.write(json.dumps({**fields, "bytes": len(content)}).encode() + b"\n")
        self._file.write(content)
        self._file.flush()
        self._last = time.monotonic()

    def beat(self) -> None:
        if time.monotonic() - self._last > BEAT_S:
            self.send(kind="beat")


def _limit() -> None:
    """Take at most so much memory, and end after so long, also when the process that waits is gone."""
    if sys.platform != "win32":
        import resource
        import signal

        resource.setrlimit(resource.RLIMIT_DATA, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
        signal.alarm(_MAX_REQUEST_S)


def main() -> None:
    """Answer requests one after the other."""
    answers = _Answers(os.dup(1))
    # What a library prints belongs to nobody.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import av

    av.logging.set_level(None)
    answers.send(kind="ready")
    for line in sys.stdin.buffer:
        try:
            _limit()
            _answer(json.loads(line), answers)
        except Refusal as refusal:
            answers.send(kind="refusal", why=refusal.kind, text=refusal.text)
        except MediaError as error:
            answers.send(kind="refusal", why="span", text=str(error))
        except MemoryError:
            answers.send(kind="refusal", why="large", text="it takes too much memory")
        except Exception as error:  # noqa: BLE001 - it is told to the other process
            answers.send(kind="refusal", why="damaged", text=reason(error))


def _answer(request: dict[str, Any], answers: _Answers) -> None:
    path = bytes.fromhex(request["path"])
    if request["kind"] == "sound":
        _send_sound(path, request["max_s"], answers)
    else:
        _send_frames(path, Span(**request["span"]), answers)


def _send_frames(path: bytes, span: Span, answers: _Answers) -> None:
    from vita_demo.preprocess.decoding.animation import animation_frames, is_animation
    from vita_demo.preprocess.decoding.video import video_frames

    def choose(timeline: Timeline) -> Sequence[int]:
        chosen, total = choose_frames(timeline, span)
        times_s = [timeline.times_s[number] for number in chosen]
        once = sorted(set(chosen))
        answers.send(kind="chosen", total=total, times_s=times_s, frames=[once.index(number) for number in chosen])
        return once

    frames = animation_frames if is_animation(path) else video_frames
    total_bytes = 0
    for width, height, pixels in frames(path, choose, answers.beat):
        total_bytes += len(pixels)
        if total_bytes > _MAX_CHOSEN_BYTES:
            raise Refusal("large", f"its frames of {width} × {height} pixels take over {_MAX_CHOSEN_BYTES >> 30} GiB")
        answers.send(pixels, kind="frame", width=width, height=height)
    answers.send(kind="done")


def _send_sound(path: bytes, max_s: float, answers: _Answers) -> None:
    from vita_demo.preprocess.decoding.sound import decode_sound
    from vita_demo.preprocess.sound_file import read_sound_file

    samples, rate_hz, duration_s = read_sound_file(path, max_s) or decode_sound(path, max_s, answers.beat)
    answers.send(samples.tobytes(), kind="sound", rate_hz=rate_hz, duration_s=duration_s)
    answers.send(kind="done")
