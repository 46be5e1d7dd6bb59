"""Media that were read lately: a conversation brings its pictures again with every question."""

from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b

from vita_demo.preprocess.media import Media
from vita_demo.serving.query import Attachment


class MediaCache:
    """Keeps media in memory, up to a size; the least recently used go first.

    Used by one thread, the event loop's.

    Args:
        limit_bytes: of all arrays together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._media: OrderedDict[Hashable, Media] = OrderedDict()

    def get(self, key: Hashable) -> Media | None:
        """Return what was kept under ``key``."""
        media = self._media.get(key)
        if media is not None:
            self._media.move_to_end(key)
        return media

    def put(self, key: Hashable, media: Media) -> None:
        """Keep media, unless they take more than half of the room."""
        size = _size_bytes(media)
        if key in self._media or size > self._limit_bytes // 2:
            return
        self._media[key] = media
        self._held_bytes += size
        while self._held_bytes > self._limit_bytes:
            _, oldest = self._media.popitem(last=False)
            self._held_bytes -= _size_bytes(oldest)


def key_of(attachment: Attachment, name: str, owner: str) -> Hashable:
    """Return what tells an attachment from all others: its content, how it is seen, and whose it is."""
    digest = blake2b(attachment.source.encode(), digest_size=16).digest()
    return owner, digest, attachment.kind, name, attachment.one_tile, attachment.sampling


def _size_bytes(media: Media) -> int:
    return sum(array.nbytes for array in (media.tiles, media.fbank) if array is not None)
