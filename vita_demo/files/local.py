"""What is given in place of a file, as a file here: data URIs, and in Python bytes, pictures and arrays.

Every reader then reads files, which are bounded and can be read in another process.
"""

import os
import re
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vita_demo.errors import InputError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_Base: Any = type(Path())


class TemporaryPath(_Base):  # type: ignore[misc]
    """A file that is removed when nothing refers to its path any more, or at the end of the program."""


def temporary_path(name: str) -> Path:
    """Return a path called ``name`` in a new folder, which is removed with it."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="vita-demo-"))
    path: Path = TemporaryPath(folder / name)
    weakref.finalize(path, shutil.rmtree, folder, ignore_errors=True)
    return path


def expand(path: Path) -> Path:
    """Replace a leading ``~`` or ``~user``; a temporary path stays the same object."""
    return Path(os.path.expanduser(path)) if str(path).startswith("~") else path  # noqa: PTH111 - raises for no user


def is_url(text: str) -> bool:
    """Whether ``text`` has a scheme, as in ``https://…``."""
    return _URL.match(text) is not None


def as_path(value: Any, name: str) -> Path:
    """Return the file that a value is or holds.

    That is a path, with ``~`` expanded; a data URI; the bytes of a file; a Pillow image or an array of pixels, uint8
    [H, W] or [H, W, 3 or 4]; for a video a sequence of these; for a sound (samples, Hz) with samples [n] or
    [n, channels], float in -1 … 1 or int16.

    Raises:
        InputError: for anything else; the message names ``name``.
    """
    if isinstance(value, str) and value.startswith("data:"):
        return _save(data_of(value, name), "data")
    if isinstance(value, str) and is_url(value):
        raise InputError(f"{name} {value} is a URL; download it and give the file")
    if isinstance(value, str | Path):
        return expand(value if isinstance(value, Path) else Path(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _save(bytes(value), "bytes")
    if "audio" in name and isinstance(value, Sequence) and len(value) == 2:
        samples, rate_hz = value
        return _save_sound(samples, rate_hz, name)
    if "video" in name and (isinstance(value, Sequence) or getattr(value, "ndim", 0) == 4):
        folder = temporary_path("frames")
        folder.mkdir()
        for number, frame in enumerate(value):
            _picture(frame, name).save(folder / f"{number}.png", compress_level=1)
        return folder
    path, picture = temporary_path("picture.png"), _picture(value, name)
    picture.save(path, exif=picture.getexif(), compress_level=1)
    return path


def _picture(value: Any, name: str) -> Any:
    """Return a Pillow image in a mode that PNG holds."""
    if hasattr(value, "getexif") and hasattr(value, "convert"):
        return value if value.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else value.convert("RGB")
    shape = getattr(value, "shape", None)
    if shape is None:
        raise InputError(f"{name} {value!r:.40} is no path; give a str or a Path")
    if str(value.dtype) != "uint8" or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        raise InputError(f"{name} is {value.dtype} {[*shape]}; give pixels as uint8 [H, W, 3]")
    from PIL import Image

    return Image.fromarray(value)


def _save_sound(samples: Any, rate_hz: Any, name: str) -> Path:
    import soundfile

    path = temporary_path("sound.wav")
    try:
        kind = "PCM_16" if str(samples.dtype) == "int16" else "FLOAT"
        soundfile.write(path, samples, int(rate_hz), subtype=kind)
    except (AttributeError, TypeError, ValueError, soundfile.SoundFileError) as error:
        raise InputError(f"{name} is no sound ({error}); give (samples, Hz) with float or int16 samples [n]") from error
    return path


def _save(content: bytes, name: str) -> Path:
    path = temporary_path(name)
    path.write_bytes(content)
    return path


def data_of(uri: str, name: str) -> bytes:
    """Return what a data URI holds.

    Raises:
        InputError: when it is none; the message names ``name``.
    """
    import base64
    from urllib.parse import unquote_to_bytes

    head, comma, body = uri.partition(",")
    try:
        if not comma:
            raise ValueError("no comma")
        content = unquote_to_bytes(body)
        if not head.endswith(";base64"):
            return content
        return base64.b64decode(b"".join(content.split()) + b"==="[: -len(content) % 4], validate=True)
    except ValueError as error:
        raise InputError(f"{name} {uri[:40]}… is no data URI ({error}); write data:image/png;base64,…") from error
