"""Checks a checkpoint, as strictly as loading does: its folder, its files, its settings and its tensors.

A check raises a ``VitaDemoError`` where it cannot go on; the diagnosis makes a problem of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vita_demo.checkpoint.config import VitaConfig, read_json
from vita_demo.checkpoint.locate import EMBEDDED, RELEASED, config_folder, is_hub_id, locate_folder
from vita_demo.checkpoint.source import ModelSource
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import CheckpointError
from vita_demo.model.loading.checkpoint import INDEX, SINGLE, Checkpoint, TensorProblem, read_weight_map
from vita_demo.model.loading.safetensors_file import StoredTensor, parse_header
from vita_demo.model.vita import VitaModel
from vita_demo.resources import resource

FILES, SETTINGS, TENSORS = "Checkpoint", "Settings", "Tensors"
_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")
_LFS = b"version https://git-lfs"
_ENCODERS = {"model.vision_tower.": "--vision_tower", "model.audio_encoder.": "--audio_encoder"}
_RESTORE = (
    "the embedded model ships with vita-demo: restore it in a git checkout with git restore assets/vita-tiny, "
    "or install vita-demo again with pip install --force-reinstall --no-deps . in its source folder"
)


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


def check_folder(findings: list[Finding], source: ModelSource) -> Path:
    """Return the checkpoint's folder on this machine."""
    location = locate_folder(source.model_path, download=False)
    folder = config_folder(location) or location
    flag = "" if source.model_path in (EMBEDDED, str(folder)) else f" (--model_path {source.model_path})"
    findings.append(Finding(FILES, "ok", f"{folder}{flag}"))
    return folder


def fetch_command(source: ModelSource, folder: Path, file: str = "", again: bool = False) -> str:
    """Say how to get into ``folder`` one ``file``, or all that is missing: by a command, where the source is known.

    Args:
        source: the checkpoint.
        folder: its folder on this machine.
        file: a name in the repository; empty for every missing file.
        again: replace what is there.
    """
    if source.model_path == EMBEDDED:
        return _RESTORE
    hub = is_hub_id(source.model_path)
    words = ("hf download", source.model_path if hub else RELEASED, file, "" if hub else f"--local-dir {folder}",
             "--force-download" if again else "")  # fmt: skip
    command = " ".join(word for word in words if word)
    if hub or _is_released(folder):
        return command
    files = file or "its files"
    if (folder / "config.json").is_file():
        return f"take {files} from where this checkpoint came from"
    return f"take {files} from where this checkpoint came from, or, if it is the released one: {command}"


def _is_released(folder: Path) -> bool:
    """Whether a folder's settings have the sizes of the released model."""
    try:
        own, released = (read_json(place / "config.json") for place in (folder, resource("configs", "vita15")))
    except CheckpointError:
        return False
    return all(own.get(name) == released[name] for name in ("hidden_size", "num_hidden_layers", "vocab_size"))


def check_small_files(findings: list[Finding], folder: Path, source: ModelSource) -> None:
    """Look for the settings and the tokenizer."""
    names = ["config.json"]
    names += ["tokenizer.json"] if (folder / "tokenizer.json").is_file() else _TOKENIZER_FILES
    for name in names:
        if (folder / name).is_file():
            findings.append(Finding(FILES, "ok", name))
        else:
            findings.append(Finding(FILES, "problem", f"{name} is missing", fetch_command(source, folder, name)))


def check_weight_files(findings: list[Finding], folder: Path, source: ModelSource) -> Weights:
    """Read the header of every weight file and compare the file's size with the size that the header requires."""
    try:
        weight_map = read_weight_map(folder)
    except CheckpointError as error:
        fix = fetch_command(source, folder, INDEX, again=True)
        raise CheckpointError(f"{str(error).partition(';')[0]}; {fix}") from error
    if not weight_map and not (folder / SINGLE).is_file():
        raise CheckpointError(f"neither {SINGLE} nor {INDEX} is there; {fetch_command(source, folder)}")
    tensors: dict[str, StoredTensor] = {}
    complete, unreadable = True, []
    for name in sorted(set(weight_map.values())) or [SINGLE]:
        finding, header = _check_weight_file(folder / name, source)
        findings.append(finding)
        tensors |= header
        complete = complete and finding.level == "ok"
        unreadable += [] if header else [name]
    if unreadable and weight_map:
        missing_bytes = _indexed_bytes(folder) - sum(tensor.size_bytes for tensor in tensors.values())
        if missing_bytes > 0:
            text = f"{', '.join(unreadable)}: {missing_bytes:,} bytes of tensors, by the index"
            findings.append(Finding(FILES, "note", text))
    return Weights(tensors, frozenset(name for name, file in weight_map.items() if file in unreadable), complete)


def _check_weight_file(path: Path, source: ModelSource) -> tuple[Finding, dict[str, StoredTensor]]:
    if not path.is_file():
        fix = fetch_command(source, path.parent, path.name)
        return Finding(FILES, "problem", f"{path.name} is missing", fix), {}
    fix = fetch_command(source, path.parent, path.name, again=True)
    try:
        header = parse_header(path)
    except CheckpointError as error:
        with path.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                return Finding(FILES, "problem", f"{path.name} is a Git LFS pointer, not the weights", fix), {}
        return Finding(FILES, "problem", str(error).rpartition("; ")[0], fix), {}
    if header.size_bytes < header.needed_bytes:
        text = f"{path.name} is truncated: {header.size_bytes:,} of {header.needed_bytes:,} bytes are there"
        return Finding(FILES, "problem", text, fix), header.tensors
    text = f"{path.name}: {len(header.tensors):,} tensors in {header.size_bytes:,} bytes"
    return Finding(FILES, "ok", text), header.tensors


def _indexed_bytes(folder: Path) -> int:
    """Return the size of all tensors by the index; 0 where it does not say."""
    metadata = read_json(folder / INDEX).get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    return total if isinstance(total, int) else 0


def check_config(findings: list[Finding], folder: Path, source: ModelSource) -> VitaConfig | None:
    """Return the settings; None when they are missing, which ``check_small_files`` reports."""
    if not (folder / "config.json").is_file():
        return None
    try:
        config = VitaConfig.from_pretrained(folder, source.vision_tower, source.audio_encoder)
        count_parameters(config)
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        fix = fetch_command(source, folder, "config.json", again=True)
        raise CheckpointError(
            f"the values in {folder / 'config.json'} define no valid model ({error}); {fix}"
        ) from error
    language = config.text
    layers = f"{language.num_hidden_layers} layers of width {language.hidden_size:,}"
    context = f"{language.max_position_embeddings:,} positions (trained with {config.trained_positions:,})"
    findings.append(Finding(SETTINGS, "ok", f"VITA-1.5: {layers}, {context}, stored as {config.torch_dtype}"))
    findings += [Finding(SETTINGS, "ok", note) for note in config.settings_notes]
    return config


def count_parameters(config: VitaConfig) -> int:
    """Count the values of the model that the settings describe, without its weight files."""
    with torch.device("meta"):
        model = VitaModel(config)
    return sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))


def check_tokenizer(findings: list[Finding], folder: Path, source: ModelSource) -> int | None:
    """Return the size of the vocabulary; None when a file is missing, which ``check_small_files`` reports."""
    complete = (folder / "tokenizer.json").is_file() or all((folder / name).is_file() for name in _TOKENIZER_FILES)
    if not complete:
        return None
    try:
        tokenizer = VitaTokenizer.from_pretrained(folder)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        file, fix = "tokenizer_config.json", fetch_command(source, folder, "tokenizer_config.json", again=True)
        raise CheckpointError(f"{folder / file} has a value of the wrong type ({error}); {fix}") from error
    findings.append(Finding(SETTINGS, "ok", f"tokenizer: {len(tokenizer):,} tokens"))
    return len(tokenizer)


def check_tensors(
    findings: list[Finding], folder: Path, config: VitaConfig, vocab_size: int | None, weights: Weights, fetch: str
) -> None:
    """Compare names and shapes in the headers with the model, as strictly as loading does.

    Args:
        findings: where to add the result.
        folder: the checkpoint's.
        config: its settings.
        vocab_size: size of the tokenizer's vocabulary; None when it cannot be read.
        weights: the headers of the weight files.
        fetch: the command that fetches the whole checkpoint again.
    """
    if not weights.tensors:
        findings.append(Finding(TENSORS, "note", "no weight file can be read, so no tensor was compared"))
        return
    try:
        checkpoint = Checkpoint.of(folder, config, vocab_size or config.text.vocab_size, weights.tensors)
    except CheckpointError as error:
        findings.append(Finding(TENSORS, "problem", str(error), "take the tokenizer's files of this checkpoint"))
        checkpoint = Checkpoint.of(folder, config, config.text.vocab_size, weights.tensors)
    if weights.unreadable:
        text = f"{len(weights.unreadable):,} tensors lie in weight files that cannot be read, and were not compared"
        findings.append(Finding(TENSORS, "note", text))
    problems = [problem for problem in checkpoint.problems() if problem.name not in weights.unreadable]
    findings += [Finding(TENSORS, "problem", str(problem), _fix(problem, fetch)) for problem in problems]
    if not problems:
        findings.append(Finding(TENSORS, "ok", f"{len(weights.tensors):,} tensors have the expected names and shapes"))


def _fix(problem: TensorProblem, fetch: str) -> str:
    for prefix, flag in _ENCODERS.items():
        if problem.name.startswith(prefix) and "shape" in problem.reason:
            return f"give the folder of this checkpoint's own encoder settings with {flag}"
    return fetch
