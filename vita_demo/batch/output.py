"""Where rows of answers go, so that a batch that is killed at any moment can go on.

The rows are lines of JSON, each written at once and in the order of the input.  A Parquet table is made of them at the
end; until then they stand beside it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self, TextIO

from vita_demo.batch.parquet import iterate_rows, write_table
from vita_demo.batch.row import Key
from vita_demo.errors import InputError

ANSWER_COLUMNS = ("text", "state", "finish_reason", "prompt_tokens", "image_tokens", "audio_tokens", "answer_tokens",
                  "ttft_s", "total_s", "error")  # fmt: skip
# What is not UTF-8 in a file's name becomes an escape, which JSON has too.
_ESCAPED = "backslashreplace"

Result = Mapping[str, Any]
"""A row of the output: ``row`` with its key, the input's columns, and the answer's."""


class Output:
    """The rows that are there, and the file that takes more.

    Args:
        path: a .jsonl or .parquet file; it may have rows of an earlier run.
        retry_errors: drop the rows that have an error, so that they are done again.

    Attributes:
        done: keys of the rows that are there.
        errors: how many of them have an error.

    Raises:
        InputError: when the file is of another kind, or has rows of something else.
    """

    def __init__(self, path: Path, retry_errors: bool = False) -> None:
        if path.suffix not in (".jsonl", ".parquet"):
            raise InputError(f"--output {path} has a suffix that names no format; give .jsonl or .parquet")
        if not path.parent.is_dir() and ":/" in str(path):
            raise InputError(
                f"--output {path} must be a file of this machine; copy it into the bucket when it is whole"
            )
        if not path.parent.is_dir():
            raise InputError(f"--output {path}: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise InputError(f"--output {path} is a folder; give a file")
        self.path = path
        self._lines = path if path.suffix == ".jsonl" else path.with_name(f"{path.name}.part.jsonl")
        if self._lines != path and not self._lines.exists() and path.exists():
            self._rewrite(row.values for row in iterate_rows(path))
        _drop_broken_line(self._lines)
        self.done: dict[Key, bool] = {}
        self._asked: dict[Key, bytes] = {}
        for result in self._read():
            self.done[result["row"]] = bool(result["error"])
            self._asked[result["row"]] = _digest(result)
        if retry_errors and any(self.done.values()):
            self._rewrite(result for result in self._read() if not result["error"])
            self.done = {key: False for key, failed in self.done.items() if not failed}
        self._file: TextIO | None = None

    @property
    def errors(self) -> int:
        """How many of the rows that are there have an error."""
        return sum(self.done.values())

    def __enter__(self) -> Self:
        self._file = self._lines.open("a", encoding="utf-8", errors=_ESCAPED)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, result: Result) -> None:
        """Add a row; it is in the file when this returns."""
        if self._file is None:
            raise InputError(f"--output {self.path} is not open; this is a defect of vita-demo")
        self._file.write(json.dumps(result, ensure_ascii=False) + "\n")
        self._file.flush()
        self.done[result["row"]] = bool(result["error"])

    def check(self, result: Result) -> None:
        """Refuse a row of the output that was asked something else than ``result``, which has the same key.

        Raises:
            InputError: saying which row.
        """
        if self._asked.get(result["row"], _digest(result)) != _digest(result):
            raise InputError(
                f"--output {self.path} has another question or other columns in row {result['row']}; "
                "give another file, or the INPUT and --question that it was made with"
            )

    def finish(self, order: Mapping[Key, int]) -> None:
        """Bring the rows into the order of the input, and make the table of them; call it after the last row."""
        if list(self.done) != sorted(self.done, key=lambda key: order.get(key, len(order))):
            self._rewrite(iter(sorted(self._read(), key=lambda result: order.get(result["row"], len(order)))))
        if self._lines != self.path:
            write_table([*self._read()], self.path)
            self._lines.unlink()

    def _read(self) -> Iterator[dict[str, Any]]:
        with suppress(FileNotFoundError), self._lines.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    result = json.loads(line)
                    known = isinstance(result, dict) and {"row", "text", "error"} <= set(result)
                except ValueError:
                    known = False
                if not known:
                    raise InputError(
                        f"--output {self._lines} has something else in line {number} than a row of answers; "
                        "give another file"
                    )
                yield result

    def _rewrite(self, results: Iterator[Result]) -> None:
        part = self._lines.with_name(f"{self._lines.name}.new")
        with part.open("w", encoding="utf-8", errors=_ESCAPED) as file:
            for result in results:
                file.write(json.dumps(result, ensure_ascii=False) + "\n")
        part.replace(self._lines)


def _digest(result: Result) -> bytes:
    """Return what tells a row's question and columns from others."""
    asked = {name: value for name, value in result.items() if name not in ANSWER_COLUMNS}
    return blake2b(json.dumps(asked, sort_keys=True, default=str).encode(), digest_size=16).digest()


def _drop_broken_line(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    with suppress(FileNotFoundError), path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
