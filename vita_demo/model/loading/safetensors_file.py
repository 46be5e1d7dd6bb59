"""Reads tensors of a safetensors file straight into memory that has been allocated.

The `safetensors` library maps the file into memory, and its pages count as the process's beside the copy.  Reading
instead keeps the peak at the size of the weights.  The format is a length, a JSON header and raw bytes.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from vita_demo.errors import CheckpointError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file: path and offset of its bytes, shape and dtype."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        """Its size in the file."""
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, rows: slice) -> Self:
        """Return a contiguous slice of its rows."""
        start, stop, _ = rows.indices(self.shape[0])
        skipped_bytes = start * math.prod(self.shape[1:]) * self.dtype.itemsize
        return type(self)(self.path, self.offset + skipped_bytes, (stop - start, *self.shape[1:]), self.dtype)

    def read(self, device: torch.device, progress: Callable[[int], None]) -> Tensor:
        """Return the tensor on ``device`` in its own dtype; see ``read_into``."""
        target = torch.empty(self.shape, dtype=self.dtype, device=device)
        self.read_into(target, progress)
        return target

    def read_into(self, target: Tensor, progress: Callable[[int], None]) -> None:
        """Read the values into ``target``, converting dtype and device.

        Args:
            target: contiguous, of the same shape.
            progress: called after each read with its number of bytes.

        Raises:
            CheckpointError: when the file ends too early.
        """
        flat = target.view(-1)
        direct = target.device.type == "cpu" and target.dtype == self.dtype
        chunk = max(1, _CHUNK_BYTES // self.dtype.itemsize)
        staging = flat if direct else torch.empty(
            min(chunk, flat.numel()), dtype=self.dtype, pin_memory=target.device.type == "cuda"
        )  # fmt: skip
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            for start in range(0, flat.numel(), chunk):
                part = flat[start : start + chunk]
                buffer = part if direct else staging[: part.numel()]
                self._fill(file.fileno(), buffer)
                if not direct:
                    part.copy_(buffer)
                progress(part.numel() * self.dtype.itemsize)

    def _fill(self, descriptor: int, buffer: Tensor) -> None:
        view = memoryview(buffer.view(torch.uint8).numpy().data)
        while view:
            count = os.readv(descriptor, [view])
            if count == 0:
                raise CheckpointError(f"{self.path} ends too early; download it again")
            view = view[count:]


@dataclass(frozen=True)
class Header:
    """The parsed header of a safetensors file.

    Attributes:
        tensors: every stored tensor by name.
        size_bytes: the file's actual size.
        needed_bytes: the size that the header asks for.
    """

    tensors: dict[str, StoredTensor]
    size_bytes: int
    needed_bytes: int


def read_header(path: Path) -> dict[str, StoredTensor]:
    """List the tensors of a safetensors file.

    Raises:
        CheckpointError: when the file is missing, is truncated, or has another format.
    """
    header = parse_header(path)
    if header.size_bytes < header.needed_bytes:
        raise CheckpointError(
            f"{path} is truncated: {header.size_bytes:,} of {header.needed_bytes:,} bytes; download it again"
        )
    return header.tensors


def parse_header(path: Path) -> Header:
    """Read the header of a safetensors file that may be truncated after it.

    Raises:
        CheckpointError: when the file is missing, ends within the header, or has another format.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if size < 8 or length > size - 8:
                raise CheckpointError(f"{path} is truncated or no safetensors file ({size:,} bytes); download it again")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        base = 8 + length
        tensors = {name: _stored(path, base, entry) for name, entry in header.items()}
        end = max((tensor.offset + tensor.size_bytes for tensor in tensors.values()), default=base)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; download the whole checkpoint") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no safetensors file ({error}); download it again") from error
    return Header(tensors, size, end)


def _stored(path: Path, base: int, entry: dict[str, object]) -> StoredTensor:
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in _DTYPES or not isinstance(shape, list) or not isinstance(offsets, list):
        raise CheckpointError(f"{path} holds tensors of type {dtype}, which this package does not read")
    return StoredTensor(path, base + offsets[0], tuple(shape), _DTYPES[str(dtype)])
