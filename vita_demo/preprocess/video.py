"""Videos, or folders of pictures, to sampled frames, with the sampling rule of the original demo.

Only the sampled frames are decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vita_demo.errors import MediaError, UnknownFormatError
from vita_demo.preprocess.image import load_image
from vita_demo.preprocess.quiet import quiet_decord

MIN_FRAMES = 4
_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@dataclass(frozen=True)
class Frames:
    """The sampled frames of a video.

    Attributes:
        images: RGB frames in time order.
        times_s: timestamp of each in the video, in seconds; empty for a folder.
        total: number of frames of the video, or of its part between start and end.
    """

    images: tuple[Image.Image, ...]
    times_s: tuple[float, ...]
    total: int


def load_frames(
    path: Path, fps: float = 1.0, max_frames: int = 16, start_s: float | None = None, end_s: float | None = None
) -> Frames:
    """Sample the frames of a video file, or read a folder of pictures as sampled frames.

    Raises:
        MediaError: when there is no frame to read; ``UnknownFormatError`` when the file is no video.
    """
    if path.is_dir():
        return _load_folder(path, max_frames)
    reader = _open(path)
    frame_rate, count = float(reader.get_avg_fps()), len(reader)
    if count == 0 or not frame_rate > 0:
        raise MediaError(f"video {path} has no frames; give a video with a picture track")
    first = int((start_s or 0.0) * frame_rate)
    if first >= count:
        raise MediaError(
            f"--start {start_s:g} lies after the end of {path} ({count / frame_rate:.1f} s); start earlier"
        )
    last = count - 1 if end_s is None else min(int(end_s * frame_rate), count - 1)
    positions = sample_positions(first, last, frame_rate, fps, max_frames)
    try:
        with quiet_decord():
            pixels = reader.get_batch(positions).asnumpy()  # [N, H, W, 3]
    except Exception as error:
        raise MediaError(f"video {path} is damaged at the frames that were sampled; cut it with --end") from error
    return Frames(
        images=tuple(Image.fromarray(frame) for frame in pixels),
        times_s=tuple(position / frame_rate for position in positions),
        total=last - first + 1,
    )


def sample_positions(first: int, last: int, frame_rate: float, fps: float, max_frames: int) -> list[int]:
    """Choose frame numbers from ``first`` to ``last``: one every 1/fps seconds, thinned or repeated uniformly.

    Fewer than four are repeated to four, as in the original demo: the model was trained with no shorter video.
    """
    stride = max(1, round(frame_rate / fps))
    return thin(range(first, last + 1, stride), min(MIN_FRAMES, max_frames), max_frames)


def thin(positions: Sequence[int], at_least: int, at_most: int) -> list[int]:
    """Thin or repeat ``positions`` uniformly, so that their number lies within the two bounds."""
    count = min(max(len(positions), at_least), at_most)
    if count == len(positions):
        return list(positions)
    return [positions[i] for i in np.linspace(0, len(positions) - 1, num=count, dtype=int)]


def _load_folder(path: Path, max_frames: int) -> Frames:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)
    if not files:
        raise MediaError(f"folder {path} holds no pictures; give a video file or a folder of PNG or JPEG frames")
    chosen = thin(range(len(files)), 1, max_frames)
    return Frames(images=tuple(load_image(files[i]) for i in chosen), times_s=(), total=len(files))


def _open(path: Path) -> Any:
    try:
        with quiet_decord() as decord:
            return decord.VideoReader(str(path), ctx=decord.cpu(0))
    except Exception as error:
        raise UnknownFormatError(f"video {path} cannot be decoded; give a video file that ffmpeg can play") from error
