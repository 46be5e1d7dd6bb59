"""Writes one small file of each media format: pictures by Pillow, sounds by libsndfile, videos by FFmpeg."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIZE = (64, 48)
_FRAMES = 20
_RATE_HZ = 10
_SOUND_HZ = 16_000
PICTURES = ("png", "jpg", "gif", "webp", "tiff", "bmp", "avif", "heic")
SOUNDS = ("wav", "flac", "mp3", "ogg")
VIDEOS = {
    "mp4": ("libx264", "aac"),
    "mkv": ("libx264", "flac"),
    "avi": ("mpeg4", "mp3"),
    "ts": ("libx264", "aac"),
    "webm": ("libvpx-vp9", "libopus"),
    "mov": ("prores_ks", "pcm_s16le"),
    "m4a": (None, "aac"),
}


def picture(number: int) -> Image.Image:
    """Draw a gradient that moves."""
    x, y = np.meshgrid(np.arange(_SIZE[0]), np.arange(_SIZE[1]))
    planes = [(x * 4 + number * 9) % 256, (y * 5) % 256, (x + y + number * 5) % 256]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))  # [H, W, 3]


def tone(seconds: float) -> NDArray[np.float32]:
    """Return two channels, float32 [n, 2]."""
    time_s = np.arange(int(seconds * _SOUND_HZ)) / _SOUND_HZ
    left, right = np.sin(2 * np.pi * 440 * time_s), np.sin(2 * np.pi * 660 * time_s)
    return (0.4 * np.stack([left, right], axis=1)).astype(np.float32)  # [n, 2]


def write_seeds(folder: Path) -> None:
    """Write ``seed.png``, ``seed.wav``, ``seed.mp4`` …; a format that cannot be written here is left out."""
    import av
    import pillow_heif
    import soundfile

    pillow_heif.register_heif_opener()
    for ending in PICTURES:
        more = {"save_all": True, "append_images": [picture(1), picture(2)]} if ending in ("gif", "webp") else {}
        try:
            picture(0).save(folder / f"seed.{ending}", **more)  # type: ignore[arg-type]
        except (KeyError, OSError):
            (folder / f"seed.{ending}").unlink(missing_ok=True)
    for ending in SOUNDS:
        soundfile.write(folder / f"seed.{ending}", tone(1.0), _SOUND_HZ)
    for ending, codecs in VIDEOS.items():
        try:
            write_video(folder / f"seed.{ending}", *codecs)
        except (av.FFmpegError, ValueError):
            (folder / f"seed.{ending}").unlink(missing_ok=True)


def write_video(path: Path, video_codec: str | None, audio_codec: str) -> None:
    """Write two seconds of moving pictures and sound; without a video codec, sound alone."""
    import av

    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(video_codec, rate=_RATE_HZ) if video_codec else None
        rate_hz = 48_000 if audio_codec == "libopus" else _SOUND_HZ
        audio: Any = container.add_stream(audio_codec, rate=rate_hz, layout="stereo")
        if video is not None:
            video.width, video.height = _SIZE
            video.pix_fmt = "yuv422p10le" if video_codec == "prores_ks" else "yuv420p"
            for number in range(_FRAMES):
                frame = av.VideoFrame.from_image(picture(number))
                frame.pts, frame.time_base = number, Fraction(1, _RATE_HZ)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        _write_sound(container, audio)


def _write_sound(container: Any, stream: Any) -> None:
    import av

    resampler = av.AudioResampler(stream.format, "stereo", stream.rate, frame_size=stream.frame_size or 1024)
    samples = np.ascontiguousarray(tone(_FRAMES / _RATE_HZ).T)  # [2, n]
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = _SOUND_HZ, 0
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))
