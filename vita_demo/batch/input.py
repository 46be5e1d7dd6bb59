"""Where rows come from: a folder of pictures, clips and sounds, a table, or lines of JSON on stdin."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Thread
from typing import Any, TextIO, TypeVar

from vita_demo.batch.parquet import count_rows, iterate_rows
from vita_demo.batch.row import Row
from vita_demo.errors import InputError
from vita_demo.files.local import is_url, temporary_path
from vita_demo.files.object_store import ObjectPath, fetch_object, list_objects, named_as
from vita_demo.preprocess.video import natural_order

T = TypeVar("T")
_LOOK_S = 0.2
_SUFFIXES = {
    "image_path": {
        *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".qoi")
    },
    "video_path": {*(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv")},
    "audio_path": {*(".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aiff", ".amr")},
}


@dataclass(frozen=True)
class Input:
    """The rows of a batch.

    Attributes:
        rows: makes a new iterator over all rows, in order.
        folder: where relative paths in the rows begin; it may be an ``ObjectPath``.
        total: number of rows; None where it is not known.
    """

    rows: Callable[[], Iterator[Row]]
    folder: Path
    total: int | None


def open_input(path: str, glob: str, stdin: TextIO | None = None) -> Input:
    """Open a folder or a .jsonl, .csv or .parquet table, also of an object store, or stdin for ``-``.

    Args:
        path: what was given as INPUT.
        glob: which files of a folder.
        stdin: lines of JSON for ``-``; None is the process's.

    Raises:
        InputError: when there is nothing there that can be read.
    """
    if path == "-":
        lines = stdin or sys.stdin
        return Input(lambda: _json_rows(lines), Path(), None)
    if is_url(path):
        return _open_stored(ObjectPath.of(path, "INPUT"), glob)
    place = Path(path).expanduser()
    if place.is_dir():
        try:
            files = [file.relative_to(place) for file in place.glob(glob) if _column_of(file) and file.is_file()]
        except (NotImplementedError, ValueError) as error:
            raise InputError(
                f"--glob {glob} is no pattern of files in {path} ({error}); give one as **/*.jpg"
            ) from error
        return _folder_input(path, glob, files, place)
    if not place.exists():
        raise InputError(f"{path} does not exist; give a folder, a .jsonl, .csv or .parquet table, or -")
    _check_suffix(place)
    return _table_input(place, place.parent)


def _open_stored(place: ObjectPath, glob: str) -> Input:
    """Open a folder of an object store, or a table, of which a copy is read that lives as long as the rows."""
    names = _heeding_interrupts(lambda: list_objects(place))
    if names is not None:
        pattern = glob.split("/")
        files = (file for file in map(Path, names) if _column_of(file) and _matches(file.parts, pattern))
        return _folder_input(str(place), glob, files, place)
    _check_suffix(place)
    copy = temporary_path(place.name)
    _heeding_interrupts(lambda: fetch_object(place, copy, "INPUT", most_bytes=None))
    with named_as({copy: place}):
        return _table_input(copy, place / "..")


def _heeding_interrupts(call: Callable[[], T]) -> T:
    """Return what a call returns, made in a thread: where a store does not answer, this one would not see Ctrl-C."""
    result: Future[T] = Future()

    def fulfil() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            result.set_exception(error)

    Thread(target=fulfil, daemon=True).start()
    while not wait([result], _LOOK_S).done:
        pass
    return result.result()


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path in a folder is one that ``Path.glob`` finds: ``**`` stands for any folders, or none."""
    if not pattern or not parts:
        return not parts and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _folder_input(path: str, glob: str, files: Iterable[Path], folder: Path) -> Input:
    found = sorted(files, key=lambda file: (file.parent, natural_order(file)))
    if not found:
        raise InputError(f"{path} has no pictures, videos or sounds that match --glob {glob}; check both")
    return Input(lambda: map(_file_row, found), folder, len(found))


def _check_suffix(path: Path) -> None:
    if path.suffix not in _READERS:
        raise InputError(f"{path} is no table that is read here; give a folder, .jsonl, .csv, .parquet, or -")


def _table_input(table: Path, folder: Path) -> Input:
    read = _READERS[table.suffix]
    total = count_rows(table) if table.suffix == ".parquet" else sum(1 for _ in read(table))
    return Input(lambda: read(table), folder, total)


def _column_of(file: Path) -> str | None:
    suffix = file.suffix.lower()
    return next((column for column, suffixes in _SUFFIXES.items() if suffix in suffixes), None)


def _file_row(file: Path) -> Row:
    return Row(file.as_posix(), {str(_column_of(file)): file.as_posix()})


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        yield from _json_rows(file)


def _json_rows(lines: TextIO) -> Iterator[Row]:
    for number, line in enumerate(line for line in lines if line.strip()):
        try:
            values: Any = json.loads(line, parse_constant=_refuse_constant)
        except ValueError as error:
            yield Row(number, error=f"row {number} is no JSON ({error})")
            continue
        whole = isinstance(values, dict)
        yield Row(number, values) if whole else Row(number, error=f"row {number} is no JSON object")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(1 << 26)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, restkey="more", restval="")
        columns = reader.fieldnames or ()
        if len(columns) == 1 and {";", "\t"} & set(columns[0]):
            raise InputError(f"{path} has a single column {columns[0]!r:.60}; separate columns by commas")
        for number, values in enumerate(reader):
            yield Row(number, values)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": iterate_rows,
}
