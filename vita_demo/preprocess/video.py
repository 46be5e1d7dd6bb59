"""Videos, or folders of pictures, to sampled frames, with the sampling rule of the original demo.

Knows the decoding process and folders of pictures.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from vita_demo.errors import MediaError, UnknownFormatError
from vita_demo.preprocess.decoder import RefusedError, ask_decoder
from vita_demo.preprocess.image import load_image
from vita_demo.preprocess.sampling import MIN_FRAMES, Span, sample_positions, thin

__all__ = ["MIN_FRAMES", "Frames", "load_frames", "sample_positions", "thin"]
_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}


@dataclass(frozen=True)
class Frames:
    """The sampled frames of a video.

    Attributes:
        images: RGB frames in time order.
        times_s: when each is shown, in seconds from the start of the file; empty for a folder, which has no clock.
        total: how many frames the video (or the chosen part of it) has.
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
    try:
        replies = [*ask_decoder("frames", path, span=asdict(Span(fps, max_frames, start_s, end_s)))]
    except RefusedError as error:
        raise _explain(path, error) from error
    # It chooses again when the times that the container gives turn out to be wrong.
    last = max(number for number, reply in enumerate(replies) if reply.kind == "chosen")
    chosen, decoded = replies[last], replies[last + 1 :]
    images = [
        Image.frombytes("RGB", (reply.fields["width"], reply.fields["height"]), reply.content) for reply in decoded
    ]
    return Frames(
        images=tuple(images[number] for number in chosen.fields["frames"]),
        times_s=tuple(chosen.fields["times_s"]),
        total=chosen.fields["total"],
    )


def _explain(path: Path, error: RefusedError) -> MediaError:
    if error.why == "no_track":
        return UnknownFormatError(
            f"video {path} has no picture track, only {error}; give a video, or a sound as --audio_path"
        )
    if error.why == "still":
        return UnknownFormatError(f"video {path} is a still picture ({error}); give it as --image_path")
    if error.why == "unknown":
        return UnknownFormatError(f"video {path} cannot be decoded ({error}); give a video file that ffmpeg can play")
    if error.why == "span":
        return MediaError(f"{str(error).replace('{path}', str(path))}; start earlier")
    if error.why == "large":
        return MediaError(f"video {path} is too large: {error}; scale it down, or lower --max_frames")
    return MediaError(f"video {path} is damaged ({error}); save or download it again")


def _load_folder(path: Path, max_frames: int) -> Frames:
    files = [file for file in path.iterdir() if file.suffix.lower() in _PICTURES and _is_frame(file)]
    if not files:
        raise MediaError(f"folder {path} holds no pictures; give a video file or a folder of PNG or JPEG frames")
    files.sort(key=natural_order)
    chosen = thin(range(len(files)), 1, max_frames)
    return Frames(images=tuple(load_image(files[i]) for i in chosen), times_s=(), total=len(files))


def _is_frame(file: Path) -> bool:
    return not file.name.startswith(".") and file.is_file()


def natural_order(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort 2.png before 10.png: runs of digits count as numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]+", file.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], file.name
