"""Tables in Parquet, through pyarrow, which an extra installs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vita_demo.batch.row import Row
from vita_demo.errors import InputError, MediaError


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet tables need pyarrow; install it with: pip install pyarrow") from None
    return pyarrow


def _open(path: Path) -> Any:
    pyarrow = _pyarrow()
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise MediaError(f"{path} is no whole Parquet table ({error}); write it again") from None


def count_rows(path: Path) -> int:
    """Return the number of rows of a table."""
    return int(_open(path).metadata.num_rows)


def iterate_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table, a piece of it in memory at a time."""
    with _open(path) as table:
        batches = (batch.to_pylist() for batch in table.iter_batches(1024))
        for number, values in enumerate(values for batch in batches for values in batch):
            yield Row(number, values)


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows to a table at once; what stood there is there until the new one is whole."""
    pyarrow = _pyarrow()
    columns = dict.fromkeys(name for row in rows for name in row)
    table = pyarrow.table({name: _column([row.get(name) for row in rows]) for name in columns})
    part = path.with_name(f"{path.name}.part")
    pyarrow.parquet.write_table(table, part)
    part.replace(path)


def _column(values: list[Any]) -> Any:
    """Return a column; values of several kinds become JSON."""
    pyarrow = _pyarrow()
    try:
        return pyarrow.array(values)
    except pyarrow.ArrowException:
        return pyarrow.array([None if value is None else json.dumps(value, ensure_ascii=False) for value in values])
