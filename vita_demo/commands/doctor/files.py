"""Are the checkpoint's files there, and are they whole?"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vita_demo.checkpoint.config import read_json
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.source import GROUP, Source
from vita_demo.errors import CheckpointError

if TYPE_CHECKING:
    from vita_demo.model.loading.safetensors_file import StoredTensor

TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class Weights:
    """What the headers of the weight files say.

    Attributes:
        tensors: every tensor of a header that could be read, also of a file that is cut short.
        out_of_reach: names of tensors that the index puts into files without a readable header.
        complete: every weight file is there to its last byte.
    """

    tensors: "Mapping[str, StoredTensor]" = field(default_factory=dict)
    out_of_reach: frozenset[str] = frozenset()
    complete: bool = False


def check_small_files(folder: Path, source: Source) -> Generator[Finding, None, None]:
    """Look for the settings and the tokenizer."""
    names = ["config.json"]
    names += ["tokenizer.json"] if (folder / "tokenizer.json").is_file() else TOKENIZER_FILES
    for name in names:
        if (folder / name).is_file():
            yield Finding(GROUP, "ok", name)
        else:
            yield Finding(GROUP, "problem", f"{name} is missing", source.fetch(folder, name))


def check_weight_files(folder: Path, source: Source) -> Generator[Finding, None, Weights]:
    """Read the header of every weight file and compare its length with what it should be."""
    from vita_demo.model.loading.checkpoint import INDEX, SINGLE, read_weight_map

    try:
        weight_map = read_weight_map(folder)
    except CheckpointError as error:
        yield Finding(GROUP, "problem", str(error).partition(";")[0], source.fetch(folder, INDEX, again=True))
        return Weights()
    if not weight_map and not (folder / SINGLE).is_file():
        yield Finding(GROUP, "problem", f"neither {SINGLE} nor {INDEX} is there", source.fetch(folder))
        return Weights()
    shards = sorted(set(weight_map.values())) or [SINGLE]
    tensors: dict[str, StoredTensor] = {}
    complete, unread = True, []
    for name in shards:
        finding, found = _check_weight_file(folder / name, source)
        tensors |= found
        complete = complete and finding.level == "ok"
        unread += [] if found else [name]
        yield finding
    if unread and weight_map:
        yield from _how_much_is_missing(folder, unread, sum(tensor.size_bytes for tensor in tensors.values()))
    return Weights(tensors, frozenset(name for name, file in weight_map.items() if file in unread), complete)


def _check_weight_file(path: Path, source: Source) -> "tuple[Finding, dict[str, StoredTensor]]":
    from vita_demo.model.loading.safetensors_file import parse_header

    if not path.is_file():
        return Finding(GROUP, "problem", f"{path.name} is missing", source.fetch(path.parent, path.name)), {}
    again = source.fetch(path.parent, path.name, again=True)
    try:
        header = parse_header(path)
    except CheckpointError as error:
        with path.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                return Finding(GROUP, "problem", f"{path.name} is a Git LFS pointer, not the weights", again), {}
        return Finding(GROUP, "problem", str(error).rpartition("; ")[0], again), {}
    if header.size_bytes < header.needed_bytes:
        cut = f"{path.name} is cut short: {header.size_bytes:,} of {header.needed_bytes:,} bytes are there"
        return Finding(GROUP, "problem", cut, again), header.tensors
    text = f"{path.name}: {len(header.tensors):,} tensors in {header.size_bytes:,} bytes"
    return Finding(GROUP, "ok", text), header.tensors


def _how_much_is_missing(folder: Path, unread: list[str], found_bytes: int) -> Iterator[Finding]:
    """The index tells the bytes of all tensors together, so what no header accounts for is in the files without one."""
    from vita_demo.model.loading.checkpoint import INDEX

    metadata = read_json(folder / INDEX).get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, int) and total > found_bytes:
        text = f"{', '.join(unread)}: {total - found_bytes:,} bytes of tensors, by the index"
        yield Finding(GROUP, "note", text)
