"""Opens picture files: which formats, upright, and with one error for whatever is wrong with them.

A new format also has its suffix among those of a video's frames in a folder (``video.py``).
"""

import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from vita_demo.errors import MediaError, UnknownFormatError

_FORMATS = (
    *(
        "PNG",
        "JPEG",
        "MPO",
        "WEBP",
        "GIF",
        "AVIF",
        "TIFF",
        "BMP",
        "DIB",
        "JPEG2000",
        "ICO",
        "CUR",
        "ICNS",
        "PPM",
        "DDS",
    ),
    *("QOI", "PSD", "PCX", "SGI", "SUN", "TGA"),
)
"""Pillow has more readers.  Those for EPS, PS and PDF start programs, and others only pass a file on."""
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_COMMON_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8")
_SIGNATURES = (*_COMMON_SIGNATURES, b"II*\0", b"MM\0*", b"8BPS", b"qoif", b"DDS ")
_PNG_SIGNATURE_BYTES = 8
_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")
_BAD_METADATA = (SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError, OSError, struct.error)
_one_at_a_time = threading.Lock()
"""Python's warning filters are one for all threads, and so is what is set while Pillow must not warn."""


def open_picture(path: Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Open a picture, turn it upright and ``convert`` it.

    Raises:
        MediaError: when it is no picture (``UnknownFormatError``), is damaged, or would take too much memory.
    """
    with path.open("rb") as file:
        head = file.read(32)
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return _read(path, head, convert)
            except (SyntaxError, OSError):
                if not head.startswith(b"\x89PNG"):
                    raise
                return _read(io.BytesIO(_without_broken_chunks(path.read_bytes())), head, convert)
    except UnidentifiedImageError:
        if _is_picture(head):
            raise MediaError(
                f"image {path} is damaged, or of a rare kind that Pillow cannot read; save it again as PNG or JPEG"
            ) from None
        raise UnknownFormatError(
            f"image {path} is not in a picture format that is read here; give a PNG or JPEG file"
        ) from None
    except (Image.DecompressionBombError, MemoryError):
        raise _too_large(path) from None
    except Exception as error:
        reason = " ".join(str(error).split())
        raise MediaError(f"image {path} is damaged ({reason}); save or download it again") from error


def _too_large(path: Path) -> MediaError:
    limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
    return MediaError(f"image {path} has more than {limit} megapixels; scale it down first")


def _read(source: Path | io.BytesIO, head: bytes, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    Image.preinit()
    if not head.startswith(_COMMON_SIGNATURES):
        Image.init()  # imports all readers
    formats = [name for name in _FORMATS if name in Image.OPEN]
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats.append("HEIF")
    with Image.open(source, formats=formats) as image:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
            raise Image.DecompressionBombError
        is_deep = any(tile.args == "RGB;16B" for tile in image.tile)
        image.load()
        if is_deep and "transparency" in image.info:
            # Pillow keeps the upper byte of each sample, but the whole of the transparent colour's.
            image.info["transparency"] = tuple(sample >> 8 for sample in image.info["transparency"])
        return convert(_upright(image))


def _is_picture(head: bytes) -> bool:
    in_box = head[4:8] == b"ftyp" and head[8:12] in {*_HEIF_BRANDS, b"avif", b"avis"}
    return head.startswith(_SIGNATURES) or in_box or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _upright(image: Image.Image) -> Image.Image:
    try:
        exif = image.getexif()
        if _ORIENTATION not in exif:
            xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
            found = _XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
            if found:
                exif[_ORIENTATION] = int(found[1])
        turned: Image.Image = ImageOps.exif_transpose(image)
    except _BAD_METADATA:  # the picture is there all the same
        return image
    return turned


def _without_broken_chunks(content: bytes) -> bytes:
    """Leave out a PNG's ancillary chunks whose checksum is wrong; a picture is complete without them."""
    kept, place = [content[:_PNG_SIGNATURE_BYTES]], _PNG_SIGNATURE_BYTES
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunk = content[place : place + 12 + length]
        ancillary = bool(chunk[4] & 0x20)
        if not ancillary or zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]:
            kept.append(chunk)
        place += len(chunk)
    return b"".join(kept)
