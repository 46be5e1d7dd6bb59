"""Files of object stores and of data URIs, which a batch names and which are fetched where they are read.

A store is whatever ``pyarrow.fs.FileSystem.from_uri`` opens: ``s3://bucket/key``, ``gs://…``, ``file:///…``.  Only who
makes an ``ObjectPath`` can have one read, which the batch does and the server does not.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from vita_demo.errors import InputError, MediaError, VitaDemoError
from vita_demo.files.download import MAX_BYTES
from vita_demo.files.local import data_of, is_url

_DATA = "data:"
_BLOCK_BYTES = 16 << 20
"""S3 answers a request for each block."""
_SHOWN, _SHOWN_DATA = 300, 40
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "/:%?&=@+,;~!$'()*"
_stores: dict[str, Any] = {}
_Base: Any = type(Path())


class ObjectPath(_Base):  # type: ignore[misc]
    """The path of a file that must be fetched before it can be read; as text it is the file's URI."""

    uri: str

    @classmethod
    def of(cls, uri: str, name: str) -> "ObjectPath":
        """Return the path of a URI; in it, only ``?`` and ``%`` in a file's name must be written ``%3F`` and ``%25``.

        Raises:
            InputError: for addresses of the web; the message names ``name``.
        """
        if uri.lower().startswith(("http://", "https://")):
            raise InputError(f"{name} {uri} is a URL of the web; download it and give the file")
        return _object_path(uri)

    def __str__(self) -> str:
        return f"{self.uri[:_SHOWN_DATA]}…" if self.uri.startswith(_DATA) else self.uri

    def __truediv__(self, name: str) -> Path:
        """Return the file called ``name``, as it is written, in this folder, or an absolute path of this machine.

        Raises:
            InputError: when no file can be called so.
        """
        if posixpath.isabs(name):
            return Path(name)
        try:
            quoted = quote(name, errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise InputError(f"{ascii(name)[:_SHOWN]} is no file's name ({error.reason}); check it") from error
        head, mark, query = self.uri.partition("?")
        scheme, _, rest = head.partition("://")
        authority, _, folder = rest.partition("/")
        path = posixpath.normpath(posixpath.join("/", folder, quoted))
        return _object_path(f"{scheme}://{authority}{path}{mark}{query}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __reduce__(self) -> tuple[Any, ...]:
        return _object_path, (self.uri,)


def _object_path(uri: str) -> ObjectPath:
    name = "data" if uri.startswith(_DATA) else unquote(uri.partition("?")[0].rstrip("/").rpartition("/")[2])
    path = ObjectPath(re.sub(r"[^\w.-]", "_", name)[-80:].lstrip(".") or "object")
    path.uri = uri
    return path


def is_uri(text: str) -> bool:
    """Whether ``text`` names a file elsewhere, or holds one."""
    return text.startswith(_DATA) or is_url(text)


def list_objects(folder: ObjectPath) -> list[str] | None:
    """Return the names of all files below a folder; None for a file.

    Raises:
        InputError: when there is neither, or it cannot be listed.
    """
    with _one_line(folder, "INPUT", InputError):
        from pyarrow.fs import FileSelector, FileType

        store, place = _open(folder)
        kind = store.get_file_info(place).type
        if kind == FileType.NotFound:
            raise FileNotFoundError
        if kind == FileType.File:
            return None
        files = store.get_file_info(FileSelector(place, recursive=True))
        return [file.path.removeprefix(place).lstrip("/") for file in files if file.type == FileType.File]


def fetch_object(path: ObjectPath, target: Path, name: str, most_bytes: int | None = MAX_BYTES) -> None:
    """Copy a file from its store.

    Args:
        path: which.
        target: the file that is written.
        name: for the messages of errors.
        most_bytes: the largest file to copy; None is any.

    Raises:
        InputError: when pyarrow is missing, or a data URI is none.
        MediaError: when it does not exist, cannot be read, or is too large.
    """
    if path.uri.startswith(_DATA):
        target.write_bytes(data_of(path.uri, name))
        return
    with _one_line(path, name, MediaError):
        store, place = _open(path)
        with store.open_input_file(place) as source, target.open("wb") as file:
            if most_bytes is not None and source.size() > most_bytes:
                raise MediaError(f"{name} {path} has more than {most_bytes >> 20} MiB; make it smaller")
            while block := source.read(_BLOCK_BYTES):
                file.write(block)


@contextmanager
def named_as(names: Mapping[Path, Path]) -> Iterator[None]:
    """Let errors name the originals: ``names`` has them by their copies."""
    try:
        yield
    except VitaDemoError as error:
        text = str(error)
        for copy, original in names.items():
            text = text.replace(str(copy), str(original))
        raise type(error)(text) from error


def _open(path: ObjectPath) -> tuple[Any, str]:
    """Return the store of a path, the same for all paths of a bucket so that connections are, and the path in it."""
    from pyarrow.fs import FileSystem

    uri = quote(_STRAY_PERCENT.sub("%25", path.uri), safe=_SAFE, errors="surrogateescape")
    store, place = FileSystem.from_uri(uri)
    head, _, query = uri.partition("?")
    return _stores.setdefault("/".join([*head.split("/")[:3], query]), store), place


@contextmanager
def _one_line(path: ObjectPath, name: str, kind: type[VitaDemoError]) -> Iterator[None]:
    """Make errors of pyarrow one line."""
    try:
        yield
    except ImportError as error:
        message = f"{name} {path} needs pyarrow, of the extra batch; install it with: pip install pyarrow"
        raise InputError(message) from error
    except FileNotFoundError as error:
        raise kind(f"{name} {path} does not exist; check the URI") from error
    # What pyarrow raises on its own are these, and NotImplementedError for a store that it was built without.
    except (OSError, ValueError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:_SHOWN]
        raise kind(f"{name} {path} cannot be read ({reason}); check the URI, and that you may read it") from error
