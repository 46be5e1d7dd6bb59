"""Where rows come from: a folder of pictures, clips and sounds, a table, or lines of JSON on stdin."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from vita_demo.batch.parquet import count_rows, iterate_rows
from vita_demo.batch.row import Row
from vita_demo.errors import InputError
from vita_demo.preprocess.video import natural_order

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
        folder: where relative paths in the rows begin.
        total: number of rows; None where it is not known.
    """

    rows: Callable[[], Iterator[Row]]
    folder: Path
    total: int | None


def open_input(path: str, glob: str, stdin: TextIO | None = None) -> Input:
    """Open a folder, a .jsonl, .csv or .parquet table, or stdin for ``-``.

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
    place = Path(path).expanduser()
    if place.is_dir():
        files = (file for file in place.glob(glob) if _column_of(file) and file.is_file())
        found = sorted(files, key=lambda file: (file.parent, natural_order(file)))
        if not found:
            raise InputError(f"{path} has no pictures, videos or sounds that match --glob {glob}; check both")
        return Input(lambda: (_file_row(file, place) for file in found), place, len(found))
    if not place.exists():
        raise InputError(f"{path} does not exist; give a folder, a .jsonl, .csv or .parquet table, or -")
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": iterate_rows}
    if place.suffix not in readers:
        raise InputError(f"{path} is no table that is read here; give a folder, .jsonl, .csv, .parquet, or -")
    read = readers[place.suffix]
    total = count_rows(place) if place.suffix == ".parquet" else sum(1 for _ in read(place))
    return Input(lambda: read(place), place.parent, total)


def _column_of(file: Path) -> str | None:
    suffix = file.suffix.lower()
    return next((column for column, suffixes in _SUFFIXES.items() if suffix in suffixes), None)


def _file_row(file: Path, folder: Path) -> Row:
    name = file.relative_to(folder).as_posix()
    return Row(name, {str(_column_of(file)): name})


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
