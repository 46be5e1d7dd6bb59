"""Checks that pictures, videos and sounds can be read, by reading the sample media."""

import io
from collections.abc import Callable

from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import MediaError
from vita_demo.preprocess.audio import load_audio
from vita_demo.preprocess.image import load_image
from vita_demo.preprocess.video import load_frames
from vita_demo.resources import resource

GROUP = "Media"
_SAMPLE_RATE_HZ = 16_000
_FORMATS = ("FLAC", "OGG", "MP3")


def check_media(findings: list[Finding]) -> None:
    """Read one file of each kind, then try the compressed sound formats."""
    findings += [
        _try("pictures", "Pillow", _read_picture),
        _try("videos", "av", _read_video),
        _try("sounds", "soundfile", _read_sound),
        *(_check_sound_format(name) for name in _FORMATS),
    ]


def _try(kind: str, package: str, read: Callable[[], str]) -> Finding:
    try:
        return Finding(GROUP, "ok", f"{kind}: {read()}")
    except (MediaError, ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        fix = f"install {package} again: pip install --force-reinstall -c constraints.txt {package}"
        return Finding(GROUP, "problem", f"{kind} cannot be read: {reason}", fix)


def _read_picture() -> str:
    image = load_image(resource("assets", "scene.png"))
    return f"{image.width} × {image.height} pixels of scene.png decoded by Pillow"


def _read_video() -> str:
    frames = load_frames(resource("assets", "moving.mp4"))
    return f"{len(frames.images)} of {frames.total} frames of moving.mp4 decoded by FFmpeg"


def _read_sound() -> str:
    samples = load_audio(resource("assets", "question.wav"), _SAMPLE_RATE_HZ)
    return f"{len(samples) / _SAMPLE_RATE_HZ:.1f} s of question.wav decoded by soundfile"


def _check_sound_format(name: str) -> Finding:
    """Encode a tone in memory and decode it again."""
    import numpy as np

    fix = f"convert {name} files to WAV, or install a newer soundfile: pip install --upgrade soundfile"
    try:
        import soundfile

        if name not in soundfile.available_formats():
            return Finding(GROUP, "note", f"{name} sound is not in this libsndfile", fix)
        tone = np.sin(np.arange(_SAMPLE_RATE_HZ // 4) * 0.2).astype(np.float32)
        file = io.BytesIO()
        soundfile.write(file, tone, _SAMPLE_RATE_HZ, format=name)
        file.seek(0)
        samples, rate_hz = soundfile.read(file)
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(GROUP, "note", f"{name} sound does not work: {' '.join(str(error).split())}", fix)
    if rate_hz != _SAMPLE_RATE_HZ or len(samples) == 0:
        return Finding(GROUP, "note", f"{name} sound is read back with another rate or length", fix)
    return Finding(GROUP, "ok", f"{name} sound written and read")
