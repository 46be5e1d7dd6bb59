"""Checks that the checkpoint's files are there and complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vita_demo.checkpoint.config import read_json
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.folder import GROUP, fetch_command
from vita_demo.errors import CheckpointError
from vita_demo.model.loading.checkpoint import INDEX, SINGLE, read_weight_map
from vita_demo.model.loading.safetensors_file import StoredTensor, parse_header

TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class Weights:
    """The headers of the weight files.

    Attributes:
        tensors: every tensor of a readable header, also of a truncated file.
        unreadable: names of tensors that the index puts into files without a readable header.
        complete: every weight file is there to its last byte.
    """

    tensors: Mapping[str, StoredTensor] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    complete: bool = False


def check_small_files(findings: list[Finding], folder: Path, source: ModelSource) -> None:
    """Look for the settings and the tokenizer."""
    names = ["config.json"]
    names += ["tokenizer.json"] if (folder / "tokenizer.json").is_file() else TOKENIZER_FILES
    for name in names:
        if (folder / name).is_file():
            findings.append(Finding(GROUP, "ok", name))
        else:
            findings.append(Finding(GROUP, "problem", f"{name} is missing", fetch_command(source, folder, name)))


def check_weight_files(findings: list[Finding], folder: Path, source: ModelSource) -> Weights:
    """Read the header of every weight file and compare the file's size with the size that the header requires."""
    try:
        weight_map = read_weight_map(folder)
    except CheckpointError as error:
        fix = fetch_command(source, folder, INDEX, again=True)
        findings.append(Finding(GROUP, "problem", str(error).partition(";")[0], fix))
        return Weights()
    if not weight_map and not (folder / SINGLE).is_file():
        text = f"neither {SINGLE} nor {INDEX} is there"
        findings.append(Finding(GROUP, "problem", text, fetch_command(source, folder)))
        return Weights()
    tensors: dict[str, StoredTensor] = {}
    complete, unreadable = True, []
    for name in sorted(set(weight_map.values())) or [SINGLE]:
        finding, header = _check_weight_file(folder / name, source)
        findings.append(finding)
        tensors |= header
        complete = complete and finding.level == "ok"
        unreadable += [] if header else [name]
    if unreadable and weight_map:
        readable_bytes = sum(tensor.size_bytes for tensor in tensors.values())
        findings += _missing_bytes(folder, unreadable, readable_bytes)
    return Weights(tensors, frozenset(name for name, file in weight_map.items() if file in unreadable), complete)


def _check_weight_file(path: Path, source: ModelSource) -> "tuple[Finding, dict[str, StoredTensor]]":
    if not path.is_file():
        fix = fetch_command(source, path.parent, path.name)
        return Finding(GROUP, "problem", f"{path.name} is missing", fix), {}
    fix = fetch_command(source, path.parent, path.name, again=True)
    try:
        header = parse_header(path)
    except CheckpointError as error:
        with path.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                return Finding(GROUP, "problem", f"{path.name} is a Git LFS pointer, not the weights", fix), {}
        return Finding(GROUP, "problem", str(error).rpartition("; ")[0], fix), {}
    if header.size_bytes < header.needed_bytes:
        text = f"{path.name} is truncated: {header.size_bytes:,} of {header.needed_bytes:,} bytes are there"
        return Finding(GROUP, "problem", text, fix), header.tensors
    text = f"{path.name}: {len(header.tensors):,} tensors in {header.size_bytes:,} bytes"
    return Finding(GROUP, "ok", text), header.tensors


def _missing_bytes(folder: Path, unreadable: list[str], readable_bytes: int) -> list[Finding]:
    """Say how much the unreadable files hold: the index's total, less the tensors of the readable files."""
    metadata = read_json(folder / INDEX).get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if not isinstance(total, int) or total <= readable_bytes:
        return []
    text = f"{', '.join(unreadable)}: {total - readable_bytes:,} bytes of tensors, by the index"
    return [Finding(GROUP, "note", text)]
