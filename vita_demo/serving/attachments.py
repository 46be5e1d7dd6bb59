"""Reads the media of a request: bytes to a private file, to what the encoders take, beside the event loop.

``load_media`` lets another process decode them, so that no file can end, hang or swell this one.
"""

import asyncio
import base64
import binascii
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.errors import VitaDemoError
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request
from vita_demo.serving.api_error import ApiError, error_of
from vita_demo.serving.fetch import Fetcher
from vita_demo.serving.loops import Workers
from vita_demo.serving.media_cache import MediaCache, key_of
from vita_demo.serving.query import Attachment, Question

_READ_LIMIT_S = 60.0
_AT_ONCE = 4
_CACHE_BYTES = 64_000_000
_WITHOUT_LINE_BREAKS = bytes.maketrans(b"", b""), b" \t\r\n"


class AttachmentReader:
    """Reads media for all requests.

    Args:
        config: of the model that will see them.
        fetcher: gets what is behind URLs.

    Attributes:
        folder: holds the files while they are read; only this user may look into it.
    """

    def __init__(self, config: VitaConfig, fetcher: Fetcher) -> None:
        self._config = config
        self._fetcher = fetcher
        self._cache = MediaCache(_CACHE_BYTES)
        self._workers = Workers(_AT_ONCE, "media")
        self.folder = Path(tempfile.mkdtemp(prefix="vita-demo-"))

    def close(self) -> None:
        """Remove the folder, and let the threads end."""
        self._workers.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def read(self, questions: Sequence[Question], owner: str) -> list[Media]:
        """Return what each question shows; what ``owner`` brought lately is not read again.

        Raises:
            ApiError: 400 for what cannot be read, is too large or takes too long.
        """
        numbers: Counter[str] = Counter()
        media = []
        try:
            async with asyncio.timeout(_READ_LIMIT_S):
                for question in questions:
                    read = []
                    for attachment in question.attachments:
                        numbers[attachment.kind] += 1
                        read.append(await self._read_once(attachment, str(numbers[attachment.kind]), owner))
                    media.append(_joined(read))
        except TimeoutError:
            raise ApiError(400, f"the media take more than {_READ_LIMIT_S:.0f} s to read; send smaller ones") from None
        return media

    async def _read_once(self, attachment: Attachment, name: str, owner: str) -> Media:
        if is_url(attachment):
            return await self._read_beside(attachment, name)
        key = key_of(attachment, name, owner)
        media = self._cache.get(key)
        if media is not None:
            return replace(media, read_s=0.0)
        media = await self._read_beside(attachment, name)
        self._cache.put(key, media)
        return media

    async def _read_beside(self, attachment: Attachment, name: str) -> Media:
        try:
            return await self._workers.run(lambda: self._read_one(attachment, name))
        except (ApiError, VitaDemoError) as error:
            found = error_of(error)
            raise ApiError(found.status, str(found), param=attachment.param, code=found.code) from error

    def _read_one(self, attachment: Attachment, name: str) -> Media:
        content = self._fetcher.fetch(attachment.source) if is_url(attachment) else _decoded(attachment)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        path = folder / name
        try:
            path.write_bytes(content)
            del content
            media = load_media(_request(attachment, path), self._config, isolated=True)
        except VitaDemoError as error:
            # Where the file lies is nobody's business.
            raise type(error)(str(error).replace(f"{folder}/", "")) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return _first_look(media) if attachment.one_tile else media


def is_url(attachment: Attachment) -> bool:
    """Whether the content lies elsewhere; base64 has no colon."""
    return "://" in attachment.source[:10]


def _request(attachment: Attachment, path: Path) -> Request:
    """Return a request for a single file; its question is not used."""
    kind, sampling = attachment.kind, attachment.sampling
    return Request(
        question="?",
        image_paths=(path,) if kind == "image" else (),
        video_path=path if kind == "video" else None,
        audio_path=path if kind == "audio" else None,
        fps=sampling.fps,
        max_frames=sampling.max_frames,
        start_s=sampling.start_s,
        end_s=sampling.end_s,
    )


def _decoded(attachment: Attachment) -> bytes:
    """Return the bytes of a data URL or of raw base64."""
    head, comma, content = attachment.source.partition(",")
    if not comma:
        head, content = "", attachment.source
    elif not head.startswith("data:") or not head.endswith(";base64"):
        raise ApiError(400, f"the medium begins with {head[:40]!r}; give data:TYPE;base64,CONTENT, or raw base64")
    try:
        raw = content.encode("ascii").translate(*_WITHOUT_LINE_BREAKS)
        decoded = base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ApiError(400, f"the medium {content[:20]!r}… is not base64; encode the file's bytes") from None
    if not decoded:
        raise ApiError(400, "the medium is empty (0 bytes); give a file's content")
    return decoded


def _first_look(media: Media) -> Media:
    """Return a picture as its thumbnail alone, which comes after its tiles."""
    if media.tiles is None or len(media.tiles) == 1:
        return media
    return replace(media, tiles=media.tiles[-1:].copy(), notes=(f"{media.notes[0]}; seen as one, at low detail",))


def _joined(parts: Sequence[Media]) -> Media:
    """Return the media of one question in one piece: pictures and frames in their order, and a sound.

    With a video among them the prompt is that for videos.
    """
    if len(parts) == 1:
        return parts[0]
    shown = [part for part in parts if part.tiles is not None]
    tiles = [part.tiles for part in shown if part.tiles is not None]
    return Media(
        modality=next((part.modality for part in shown if part.frames), shown[0].modality if shown else "text"),
        tiles=np.concatenate(tiles) if tiles else None,  # [N, S, S, 3]
        fbank=next((part.fbank for part in parts if part.fbank is not None), None),
        frames=sum(part.frames for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
        read_s=sum(part.read_s for part in parts),
    )
