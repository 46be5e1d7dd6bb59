"""What a file certainly is, by its first bytes: enough to refuse a sound as a picture before anything is loaded."""

from pathlib import Path

_HEAD_BYTES = 16
_PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis", b"heic", b"heix", b"mif1"), "picture"),
    b"M4A ": "sound",
    b"M4B ": "sound",
}
_SOUNDS = (b"fLaC", b"ID3")
_VIDEOS = (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"FLV\1", b"OggS")
_RIFF = {b"WEBP": "picture", b"WAVE": "sound", b"AVI ": "video"}
_FLAGS = {"picture": "--image_path", "sound": "--audio_path", "video": "--video_path"}
_FITS = {
    "--image_path": ("picture",),
    "--audio_path": ("sound", "video"),
    "--video_path": ("video", "picture"),
}
"""A video has a sound track, and a picture may be animated."""


def kind_of(path: Path) -> str | None:
    """Return "picture", "sound" or "video", which may have sound alone; None where only decoding can tell."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    signatures = {"picture": _PICTURES, "sound": _SOUNDS, "video": _VIDEOS}
    return next((kind for kind, beginnings in signatures.items() if head.startswith(beginnings)), None)


def other_flag(path: Path, flag: str) -> tuple[str, str] | None:
    """Return what a file is and the flag for it, if it is certainly nothing for ``flag``."""
    kind = kind_of(path)
    return None if kind is None or kind in _FITS[flag] else (kind, _FLAGS[kind])
