"""The frames that are chosen are those that the ffmpeg program shows at these times, in every container."""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.preprocess.numbered_frames import encode, number_at, number_of, run, shown_by_ffmpeg
from vita_demo.preprocess.video import load_frames

CODECS = {
    "h264": ["-c:v", "libx264", "-bf", "2", "-g", "30"],
    "h264 open": ["-c:v", "libx264", "-bf", "2", "-g", "30", "-x264-params", "open-gop=1"],
    "hevc": ["-c:v", "libx265", "-x265-params", "log-level=error:keyint=30:min-keyint=10"],
    "vp8": ["-c:v", "libvpx", "-g", "30"],
    "vp9": ["-c:v", "libvpx-vp9", "-g", "30", "-deadline", "realtime", "-cpu-used", "8"],
    "av1": ["-c:v", "libsvtav1", "-preset", "12", "-g", "30"],
    "mpeg4": ["-c:v", "mpeg4", "-bf", "2", "-g", "30", "-q:v", "3"],
    "mpeg2": ["-c:v", "mpeg2video", "-bf", "2", "-g", "30", "-q:v", "3"],
    "mjpeg": ["-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"],
    "prores": ["-c:v", "prores_ks"],
    "wmv2": ["-c:v", "wmv2", "-g", "30", "-q:v", "3"],
    "h263": ["-c:v", "h263", "-g", "30", "-q:v", "3"],
    "gif": ["-c:v", "gif"],
}
MUXERS = {
    "mp4": "mp4", "mkv": "matroska", "mov": "mov", "webm": "webm", "avi": "avi", "ts": "mpegts", "ps": "vob",
    "flv": "flv", "3gp": "3gp", "wmv": "asf", "gif": "gif",
}  # fmt: skip
"""Column of the table, and ffmpeg's name of the format."""
VARIABLE = "select='lt(n,30)+not(mod(n,9))'"
"""The first 30 frames, and then each ninth."""
CONSTANT_ONLY = ("avi", "ps", "wmv")
"""Containers in which ffmpeg itself loses the times of variable rates."""
CUT_S = 0.8
BITSTREAM_FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb", "mpeg4": "dump_extra"}
"""What turns the packets of Matroska into those of AVI, MPEG-TS and MPEG-PS."""
EDIT_LISTS = ("mp4", "mov", "3gp")
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="the ffmpeg program is not installed")


def wrong_frames(path: Path, source: Path) -> str | None:
    """Compare chosen frames with the ffmpeg program's; "" when all are equal, None when it shows none.

    Cut videos are compared with what was not yet cut: ffmpeg 5.1 shows hidden frames of AV1.
    """
    is_cut = path.stem.endswith("cut")
    shown = shown_by_ffmpeg(source if is_cut else path)
    if not shown or -1 in dict(shown).values():  # it has written what it cannot read
        return None
    start_s = CUT_S if is_cut else 0
    for sampling in ({"fps": 1.0}, {"fps": 5.0, "max_frames": 9}, {"fps": 2.0, "start_s": 1.3, "end_s": 3.1}):
        frames = load_frames(path, **sampling)
        seen = [number_of(image) for image in frames.images]
        right = [number_at(shown, start_s + time_s) for time_s in frames.times_s]
        if seen != right:
            return f"{path.name} {sampling}: {seen} for {right} at {frames.times_s}"
    count = sum(time_s >= start_s - 0.001 for time_s, _ in shown)
    return "" if load_frames(path).total == count else f"{path.name} has {count} frames"


def documented(codec: str) -> dict[str, str]:
    """Return the row of a codec in the table of the documentation."""
    lines = (ROOT / "docs" / "media.md").read_text(encoding="utf-8").splitlines()
    (head,) = (line for line in lines if line.startswith("| codec |"))
    (row,) = (line for line in lines if line.startswith(f"| {codec} |"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, row)]
    return dict(zip(*cells, strict=True))


def files(folder: Path, source: Path, codec: str, kind: str, column: str) -> Iterator[Path]:
    """Write the packets of ``source`` into a container, whole and, where there are edit lists, cut."""
    if kind == "variable" and column in CONSTANT_ONLY:
        return
    bitstream = BITSTREAM_FILTERS.get(codec.split(maxsplit=1)[0])
    output = ("-bsf:v", bitstream) if bitstream and column in ("avi", "ts", "ps") else ()
    # ffmpeg marks every frame of H.263 as a keyframe, so that what it cuts cannot be decoded.
    cut = {"cut": ["-ss", CUT_S]} if column in EDIT_LISTS and codec != "h263" else {}
    for name, options in {"whole": [], **cut}.items():
        path = folder / f"{kind} {name}.{column}"
        command = ("ffmpeg", "-v", "error", "-y", *options, "-i", source, "-c", "copy", *output, "-f", MUXERS[column])
        if run(*command, path) is not None and path.stat().st_size:
            yield path


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_the_frames_are_those_of_ffmpeg_in_every_container(tmp_path: Path, codec: str) -> None:
    wrong, read = [], set()
    for kind, filters in (("constant", "null"), ("variable", VARIABLE)):
        source = encode(tmp_path / f"{kind}.{'gif' if codec == 'gif' else 'mkv'}", CODECS[codec], filters)
        if source is None:
            pytest.skip(f"this ffmpeg has no encoder for {codec}")
        for column in MUXERS:
            differences = [wrong_frames(path, source) for path in files(tmp_path, source, codec, kind, column)]
            wrong += [difference for difference in differences if difference]
            read |= {column} if differences and None not in differences else set()
    assert wrong == []
    assert read <= {column for column, cell in documented(codec).items() if cell == "✓"}


@needs_ffmpeg
@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1),
                                    (0, 1, 1, 0), (0, -1, -1, 0)])  # fmt: skip
def test_a_turned_or_mirrored_video_is_upright(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    path = tmp_path / "turned.mp4"
    encode(path, CODECS["h264"])
    plain, turned = (struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16) for a, b, c, d in ((1, 0, 0, 1), matrix))
    head, track, rest = path.read_bytes().partition(b"tkhd")
    path.write_bytes(head + track + rest.replace(plain, turned, 1))
    image = load_frames(path).images[1]
    pixels = run(
        "ffmpeg", "-v", "error", "-ss", "1", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"
    )
    assert image.tobytes() == pixels
    assert image.tobytes() != load_frames(encode(path, CODECS["h264"])).images[1].tobytes()
