"""A media file, opened by FFmpeg in such a way that it can open no other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vita_demo.preprocess.decoding.refusal import Refusal, reason

Beat = Callable[[], None]
"""Called while work goes on, so that the process that waits sees that this one does not hang."""
_BUFFER_BYTES = 1 << 18
_DISCARD_ALL = 48
_MAX_PIXELS = 36_000_000
"""Of one frame: 8K has 33 million."""
_MAX_PACKETS = 5_000_000
"""A day of video has half as many."""


class _Nameless:
    """A file without its name, whose ending FFmpeg would believe more than the content."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def open_container(path: bytes) -> Iterator[Any]:
    """Open a file, and nothing that a playlist or a reference in it names.

    The file is opened here and FFmpeg only reads from it, so a colon, a leading dash or bytes that are not UTF-8 in its
    name mean nothing.

    Raises:
        Refusal: when FFmpeg knows no such format.
    """
    import av

    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a name in bytes
        try:
            container = av.open(
                _Nameless(file),
                options={"protocol_whitelist": "none"},
                buffer_size=_BUFFER_BYTES,
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError) as error:
            raise Refusal("unknown", reason(error)) from error
        with container:
            yield container


def best_stream(container: Any, kind: str) -> Any:
    """Return the video or audio stream that players choose, and let FFmpeg skip the others.

    Raises:
        Refusal: when there is none that can be decoded; a cover picture is no video.
    """
    from av.stream import Disposition

    stream = container.streams.best(kind)
    if stream is None or (kind == "video" and stream.disposition & Disposition.attached_pic):
        raise Refusal("no_track", "sound" if container.streams.audio else "pictures" if container.streams.video else "")
    if stream.codec_context is None:
        raise Refusal("unknown", f"FFmpeg has no decoder for its {kind} track")
    for other in container.streams:
        if other is not stream:
            other.discard = type(other.discard)(_DISCARD_ALL)
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = 2
    if kind == "video":
        stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
    return stream


def packets_of(container: Any, stream: Any, beat: Beat) -> Iterator[Any]:
    """Yield a stream's packets up to the end, or to where the file is damaged.

    Raises:
        Refusal: when they do not end.
    """
    import av

    count = 0
    try:
        for packet in container.demux(stream):
            beat()
            count += 1
            if count > _MAX_PACKETS:
                raise Refusal("large", f"it has more than {_MAX_PACKETS:,} packets")
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def decode(stream: Any, packet: Any) -> list[Any]:
    """Decode one packet, or for None what the decoder still holds; a damaged packet gives nothing, as in players."""
    import av

    try:
        return list(stream.codec_context.decode(packet))
    except (av.FFmpegError, ValueError):
        return []
