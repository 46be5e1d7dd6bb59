"""Decoded frames to upright RGB, as FFmpeg's filters and the original's reader (decord) make them."""

import struct
from itertools import pairwise
from typing import Any

_DECORD_CHROMA = ":in_h_chr_pos=128:in_v_chr_pos=256"
"""Where decord 0.6 takes the colour samples of deep 4:2:0 video to lie; the original model's videos went through it."""
_DEEP_420 = ("yuv420p9", "yuv420p10", "yuv420p12", "yuv420p14", "yuv420p16", "p010", "p012", "p016")

Rgb = tuple[int, int, bytes]
"""Width, height and the pixels, row by row, three bytes each."""


class RgbConverter:
    """Converts frames with one filter graph for each format that comes."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[Any, ...], Any] = {}

    def convert(self, frame: Any) -> Rgb:
        """Return a frame as it is to be shown: turned and mirrored as the file says, in 8-bit RGB."""
        turns = upright(_matrix(frame))
        key = (frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range, turns)
        if key not in self._graphs:
            self._graphs[key] = _graph(frame, turns)
        graph = self._graphs[key]
        graph.push(frame)
        return _packed(graph.pull())


def _graph(frame: Any, turns: tuple[tuple[str, str], ...]) -> Any:
    import av.filter

    graph = av.filter.Graph()
    graph.threads = 1
    chain = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)]
    scale = "flags=bilinear" + (_DECORD_CHROMA if frame.format.name.startswith(_DEEP_420) else "")
    filters = (*turns, ("scale", scale), ("format", "rgb24"), ("buffersink", None))
    chain += [graph.add(name, arguments) for name, arguments in filters]
    for source, sink in pairwise(chain):
        source.link_to(sink)
    graph.configure()
    return graph


def _packed(frame: Any) -> Rgb:
    plane, row_bytes = frame.planes[0], 3 * frame.width
    pixels, stride = memoryview(plane), plane.line_size
    if stride == row_bytes:
        return frame.width, frame.height, bytes(pixels[: row_bytes * frame.height])
    rows = (pixels[y * stride : y * stride + row_bytes] for y in range(frame.height))
    return frame.width, frame.height, b"".join(rows)


def _matrix(frame: Any) -> tuple[int, ...]:
    """Return the 3 × 3 display matrix of a frame; the identity where it has none."""
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    return struct.unpack("9i", bytes(data)[:36]) if data is not None else (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def upright(matrix: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    """Return the filters that undo a display matrix: quarter turns and reflections, as the ffmpeg program does."""
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(b) + abs(c) > abs(a) + abs(d):  # a quarter turn
        directions = {(True, False): "clock", (False, True): "cclock", (True, True): "cclock_flip"}
        return (("transpose", directions.get((b > 0, c > 0), "clock_flip")),)
    flips = (("hflip", a < 0), ("vflip", d < 0))
    return tuple((name, "") for name, needed in flips if needed)
