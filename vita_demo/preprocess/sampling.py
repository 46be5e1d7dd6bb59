"""Which frames of a video are seen: the sampling rule of the original demo, by the time at which frames are shown.

Knows numbers alone, so that the decoding process can import it in no time.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from vita_demo.errors import MediaError

MIN_FRAMES = 4
_TOLERANCE_S = 1e-3
"""Matroska rounds times to milliseconds."""


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video is shown.

    Attributes:
        times_s: of every frame, ascending, counted from the start of the file.
        rate_hz: frames per second as the container gives them.
        end_s: when the last frame is gone.
    """

    times_s: Sequence[float]
    rate_hz: float
    end_s: float

    def shown_at(self, time_s: float) -> int:
        """Return the number of the frame that is on the screen; the first one before anything is."""
        return max(0, bisect_right(self.times_s, time_s + _TOLERANCE_S) - 1)

    def constant_rate_hz(self) -> float | None:
        """Return the rate at which every frame lies within half an interval of its place; None if there is none."""
        first_s, length_s = self.times_s[0], self.times_s[-1] - self.times_s[0]
        measured_hz = (len(self.times_s) - 1) / length_s if length_s > 0 else self.rate_hz
        for rate_hz in (self.rate_hz, measured_hz):
            places = (first_s + number / rate_hz for number in range(len(self.times_s)))
            most_s = 0.5 / rate_hz
            if all(abs(time_s - place_s) < most_s for time_s, place_s in zip(self.times_s, places, strict=True)):
                return rate_hz
        return None


@dataclass(frozen=True)
class Span:
    """Which frames of a video to choose, as ``request.Sampling`` has it."""

    fps: float
    max_frames: int
    start_s: float | None
    end_s: float | None


def choose_frames(timeline: Timeline, span: Span) -> tuple[list[int], int]:
    """Return the numbers of the chosen frames, and how many there are to choose from.

    Where frames come at a constant rate, each ``round(rate / fps)``-th is chosen, as in the original demo; otherwise
    the one that is shown every 1/fps seconds, and each once where that leaves enough.

    Raises:
        MediaError: when ``start_s`` lies after the end; its text has a place for the file's path.
    """
    if span.start_s is not None and span.start_s >= timeline.end_s:
        raise MediaError(f"--start {span.start_s:g} lies after the end of {{path}} ({timeline.end_s:.1f} s)")
    first = timeline.shown_at(span.start_s or 0.0)
    last = len(timeline.times_s) - 1 if span.end_s is None else max(first, timeline.shown_at(span.end_s))
    rate_hz = timeline.constant_rate_hz()
    if rate_hz is not None:
        chosen = sample_positions(first, last, rate_hz, span.fps, span.max_frames)
    else:
        chosen = _sample_times(timeline, first, last, span)
    return chosen, last - first + 1


def _sample_times(timeline: Timeline, first: int, last: int, span: Span) -> list[int]:
    start_s, length_s = timeline.times_s[first], timeline.times_s[last] - timeline.times_s[first]
    count = 1 + int((length_s + _TOLERANCE_S) * span.fps)
    count = min(count, 1_000_000)
    shown = [timeline.shown_at(start_s + number / span.fps) for number in range(count)]
    each_once = list(dict.fromkeys(shown))
    if len(each_once) <= span.max_frames:
        return thin(each_once, min(MIN_FRAMES, span.max_frames), span.max_frames)
    return thin(shown, 1, span.max_frames)


def sample_positions(first: int, last: int, frame_rate: float, fps: float, max_frames: int) -> list[int]:
    """Choose frame numbers between ``first`` and ``last``: one every 1/fps seconds, thinned or repeated uniformly.

    Fewer than four become four by repetition, as in the original demo: the model never saw a shorter video.
    """
    stride = max(1, round(frame_rate / fps))
    return thin(range(first, last + 1, stride), min(MIN_FRAMES, max_frames), max_frames)


def thin(positions: Sequence[int], at_least: int, at_most: int) -> list[int]:
    """Return ``positions`` uniformly thinned or repeated so that their number lies between the two bounds."""
    count = min(max(len(positions), at_least), at_most)
    if count == len(positions):
        return list(positions)
    if count == 1:
        return [positions[0]]
    step = (len(positions) - 1) / (count - 1)
    return [*(positions[int(number * step)] for number in range(count - 1)), positions[-1]]  # as numpy.linspace
