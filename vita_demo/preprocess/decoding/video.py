"""A video's frame times, and chosen frames of it, decoded in the order of their packets.

The times come from the packets alone where these can be trusted.  Where they cannot, every frame is decoded to be
counted.  Nothing seeks: that lands where the container's index says, which is wrong too often, while reading packets
costs little.  Only those from the last keyframe on are decoded.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any

from vita_demo.preprocess.decoding.animation import animation_frames, is_animation
from vita_demo.preprocess.decoding.container import Beat, best_stream, decode, open_container, packets_of
from vita_demo.preprocess.decoding.pixels import Rgb, RgbConverter
from vita_demo.preprocess.decoding.refusal import Refusal
from vita_demo.preprocess.sampling import Timeline

_DEFAULT_RATE_HZ = 25.0
_MAX_LATE_START_S = 60.0
"""A picture track that starts later than this after the sound has a wrong clock."""
_WITHOUT_TIMES = ("avi", "asf")
"""Formats whose time stamps need not be those at which frames are shown."""
_NO_PTS = -(1 << 63)

Choose = Callable[[Timeline], Sequence[int]]


class _MovedError(Exception):
    """Frames are not where their packets say."""


@dataclass(frozen=True)
class _Packets:
    """What the packets of a track say, in the order in which they are stored."""

    pts: "array[int]"
    durations: "array[int]"
    keyframe: bytearray
    hidden: bytearray

    def shown(self) -> list[int]:
        """Return the time stamps of the frames that are shown, ascending, from the first keyframe on.

        Raises:
            _MovedError: when they cannot be told.
        """
        first = self.keyframe.find(1)
        if first < 0 or _NO_PTS in self.pts:
            raise _MovedError
        start = self.pts[first]
        numbers = range(first, len(self.pts))
        shown = sorted(self.pts[number] for number in numbers if not self.hidden[number] and self.pts[number] >= start)
        if not shown or any(one == after for one, after in pairwise(shown)):
            raise _MovedError
        return shown

    def keyframe_before(self, pts: int) -> int:
        """Return the packet to start decoding at; a frame before its keyframe in time needs the keyframe before."""
        number = self.pts.index(pts)
        while number > 0 and not (self.keyframe[number] and self.pts[number] <= pts):
            number -= 1
        return number


def frames_of(path: bytes, choose: Choose, beat: Beat) -> Iterator[Rgb]:
    """Decode the frames that ``choose`` finds in the timeline of a video or an animated picture.

    It returns ascending numbers, each once.

    When the packets turn out to be wrong, ``choose`` is called again, and all frames come again.

    Raises:
        Refusal: when there are none to decode.
    """
    if is_animation(path):
        yield from animation_frames(path, choose, beat)
        return
    try:
        yield from _trusting_frames(path, choose, beat)
    except _MovedError:
        yield from _counted_frames(path, choose, beat)


def _trusting_frames(path: bytes, choose: Choose, beat: Beat) -> Iterator[Rgb]:
    """Choose by the packets' times, and decode what is needed."""
    with open_container(path) as container:
        stream = _video_stream(container)
        packets = _read_packets(container, stream, beat)
        shown = packets.shown()
        if _order_is_lost(container, stream, packets):
            raise _MovedError
        start_s = _late_start_s(container, shown[0] * float(stream.time_base))
        times_s = _times_s(shown, stream.time_base, start_s)
        rate_hz = _rate_hz(stream)
        last_s = packets.durations[packets.pts.index(shown[-1])] * float(stream.time_base) or 1 / rate_hz
        wanted = [shown[number] for number in choose(Timeline(times_s, rate_hz, times_s[-1] + last_s))]
    with open_container(path) as container:
        converter = RgbConverter()
        for frame in _timed_frames(container, _video_stream(container), packets, wanted, beat):
            yield converter.convert(frame)


def _counted_frames(path: bytes, choose: Choose, beat: Beat) -> Iterator[Rgb]:
    """Decode everything twice: to find out what there is, and to give what was chosen."""
    with open_container(path) as container:
        stream = _video_stream(container)
        rate_hz = _rate_hz(stream)
        stamps = [frame.pts for frame in _all_frames(container, stream, beat)]
        if not stamps:
            raise Refusal("damaged", "no frame can be decoded")
        times_s = _ordered_times_s(stamps, stream.time_base, rate_hz)
        wanted = choose(Timeline(times_s, rate_hz, times_s[-1] + 1 / rate_hz))
    with open_container(path) as container:
        converter = RgbConverter()
        remaining = set(wanted)
        for number, frame in enumerate(_all_frames(container, _video_stream(container), beat)):
            if number in remaining:
                remaining.remove(number)
                yield converter.convert(frame)
            if not remaining:
                return
    raise Refusal("damaged", "its frames are not the same when it is read again")


def _video_stream(container: Any) -> Any:
    if container.format.name.endswith("_pipe"):
        raise Refusal("still", container.format.name.removesuffix("_pipe"))
    return best_stream(container, "video")


def _rate_hz(stream: Any) -> float:
    return float(stream.average_rate or stream.guessed_rate or 0) or _DEFAULT_RATE_HZ


def _times_s(stamps: Sequence[int], time_base: Fraction, start_s: float = 0.0) -> list[float]:
    multiply, divide = time_base.numerator, time_base.denominator
    return [start_s + (stamp - stamps[0]) * multiply / divide for stamp in stamps]


def _ordered_times_s(stamps: Sequence[int | None], time_base: Fraction, rate_hz: float) -> list[float]:
    """Return times for frames in the order in which they come, whose stamps may be those of storage, or missing."""
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) == len(stamps) and all(one < after for one, after in pairwise(known)):
        return _times_s(known, time_base)
    interval_s = 1 / rate_hz
    if len(known) == len(stamps) > 1:
        gaps = sorted(after - one for one, after in pairwise(sorted(known)))
        interval_s = float(gaps[len(gaps) // 2] * time_base) or interval_s
    return [number * interval_s for number in range(len(stamps))]


def _read_packets(container: Any, stream: Any, beat: Beat) -> _Packets:
    packets = _Packets(array("q"), array("q"), bytearray(), bytearray())
    is_vp8 = stream.codec_context.codec.canonical_name == "vp8"
    for packet in packets_of(container, stream, beat):
        # VP8 stores pictures that others refer to and nobody sees; a bit of their header says so.
        hidden = packet.is_discard or (is_vp8 and not bytes(packet)[0] & 0x10)
        packets.pts.append(_NO_PTS if packet.pts is None else packet.pts)
        packets.durations.append(packet.duration or 0)
        packets.keyframe.append(packet.is_keyframe)
        packets.hidden.append(hidden)
    return packets


def _order_is_lost(container: Any, stream: Any, packets: _Packets) -> bool:
    """Where a container has no times of presentation, frames that are stored out of order get that of storage."""
    in_order = all(one < after for one, after in pairwise(packets.pts))
    return container.format.name in _WITHOUT_TIMES and bool(stream.codec_context.has_b_frames) and in_order


def _late_start_s(container: Any, first_s: float) -> float:
    """Return when the first frame is shown, counted from where players start the file."""
    if container.start_time is None or container.format.name in _WITHOUT_TIMES:
        return 0.0
    late_s = first_s - container.start_time / 1_000_000
    return late_s if 1e-4 < late_s < _MAX_LATE_START_S else 0.0


def _all_frames(container: Any, stream: Any, beat: Beat) -> Iterator[Any]:
    for packet in chain(packets_of(container, stream, beat), [None]):
        for frame in decode(stream, packet):
            beat()
            yield frame


def _timed_frames(container: Any, stream: Any, packets: _Packets, wanted: Sequence[int], beat: Beat) -> Iterator[Any]:
    """Decode from the keyframe before each wanted time stamp, and stop when the last is there."""
    search = _Search(stream, packets, wanted)
    for number, packet in enumerate(chain(packets_of(container, stream, beat), [None])):
        if packet is not None and not search.needs(number, packet.pts):
            continue
        for frame in decode(stream, packet):
            beat()
            if search.finds(frame):
                yield frame
            if search.is_over():
                return
    raise _MovedError


class _Search:
    """Looks for frames with given time stamps, and keeps the decoder from what lies between them."""

    def __init__(self, stream: Any, packets: _Packets, wanted: Sequence[int]) -> None:
        self._stream, self._wanted = stream, wanted
        self._starts = [packets.keyframe_before(pts) for pts in wanted]
        self._found, self._decoding = 0, False
        self._keyframe: int | None = None

    def needs(self, number: int, pts: int) -> bool:
        """Whether a packet is to be decoded for the next frame."""
        needed = number >= self._starts[self._found]
        if needed and not self._decoding and number > 0:
            self._stream.codec_context.flush_buffers()
            self._keyframe = pts
        self._decoding = needed
        return needed

    def finds(self, frame: Any) -> bool:
        """Whether it is the next frame.

        Raises:
            _MovedError: when that one is missing, or what was said to be a keyframe is none.
        """
        from av.video.frame import PictureType

        if frame.pts is None or (frame.pts == self._keyframe and frame.pict_type != PictureType.I):
            raise _MovedError
        if frame.pts > self._wanted[self._found]:
            raise _MovedError
        found = bool(frame.pts == self._wanted[self._found])
        self._found += found
        return found

    def is_over(self) -> bool:
        """Whether all frames are found."""
        return self._found == len(self._wanted)
