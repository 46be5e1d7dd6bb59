"""Animated pictures (GIF, WebP, PNG) as videos, by Pillow: FFmpeg gives no transparency, and of WebP one frame."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vita_demo.preprocess.decoding.container import Beat
from vita_demo.preprocess.decoding.pixels import Rgb
from vita_demo.preprocess.decoding.refusal import Refusal, reason
from vita_demo.preprocess.sampling import Timeline

_SHORTEST_S = 0.02
_DEFAULT_S = 0.1
"""What browsers and FFmpeg make of a frame that is to be shown for less than the shortest time."""
_MAX_FRAMES = 100_000


def is_animation(path: bytes) -> bool:
    """Whether the file begins as a picture that may be animated."""
    with open(path, "rb") as file:  # noqa: PTH123 - a name in bytes
        head = file.read(16)
    return head.startswith((b"GIF8", b"\x89PNG")) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def animation_frames(path: bytes, choose: Callable[[Timeline], Sequence[int]], beat: Beat) -> Iterator[Rgb]:
    """Decode the frames that ``choose`` finds in the timeline, laid on white.

    Raises:
        Refusal: when it is a still picture, or damaged before its first frame.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("GIF", "WEBP", "PNG")) as image:
            if getattr(image, "n_frames", 1) == 1:
                raise Refusal("still", image.format or "")
            times_s, end_s = [0.0], 0.0
            for _ in _each(image, beat):
                end_s = times_s[-1] + _duration_s(image)
                times_s.append(end_s)
            times_s.pop()
            wanted = set(choose(Timeline(times_s, len(times_s) / end_s, end_s)))
            for number in _each(image, beat):
                if number in wanted:
                    yield _on_white(image)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal("damaged", reason(error)) from error


def _each(image: Any, beat: Beat) -> Iterator[int]:
    """Load frame after frame, up to the end or to where the file is damaged."""
    for number in range(min(image.n_frames, _MAX_FRAMES)):
        beat()
        try:
            image.seek(number)
            image.load()
        except (EOFError, OSError, SyntaxError, ValueError):
            if number == 0:
                raise
            return
        yield number


def _duration_s(image: Any) -> float:
    duration_s = image.info.get("duration", 0) / 1000
    return duration_s if duration_s >= _SHORTEST_S else _DEFAULT_S


def _on_white(image: Any) -> Rgb:
    from PIL import Image

    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return rgba.width, rgba.height, Image.alpha_composite(white, rgba).convert("RGB").tobytes()
