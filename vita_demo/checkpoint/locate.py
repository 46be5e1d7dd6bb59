"""Finds the folder of a model named by a path, a hub id or "embedded"."""

import os
import re
from pathlib import Path

from vita_demo.errors import CheckpointError, InputError
from vita_demo.resources import resource

EMBEDDED = "embedded"
RELEASED = "VITA-MLLM/VITA-1.5"
NOTICE = f"the embedded model vita-tiny knows only simple shapes; --model_path {RELEASED} takes the real one"
_NEEDED = ["*.json", "*.safetensors", "merges.txt", "vocab.json", "*train.yaml", "*global_cmvn"]


def source_notes(model_path: str, pictures: int = 0) -> list[str]:
    """Say in lines what a user should know of the model before it answers about so many pictures."""
    if model_path != EMBEDDED:
        return []
    several = (
        ["vita-tiny was trained on one picture a question: its answer may miss some of these"] if pictures > 1 else []
    )
    return [NOTICE, *several]


def locate_checkpoint(model_path: str) -> Path:
    """Return the checkpoint's folder; a hub id is taken from the local cache or downloaded.

    Raises:
        InputError: when the path does not exist and is no hub id.
        CheckpointError: when the folder holds no checkpoint, or a download fails.
    """
    return _with_config(locate_folder(model_path))


def locate_settings(model_path: str) -> Path:
    """Return a folder with the model's settings, with or without its weights; nothing is downloaded.

    Raises:
        InputError: when the path does not exist and is no hub id.
        CheckpointError: when the folder holds no checkpoint, or the hub id is not in the local cache.
    """
    try:
        return _with_config(locate_folder(model_path, download=False))
    except CheckpointError:
        if model_path != RELEASED:
            raise
        return resource("configs", "vita15")


def locate_folder(model_path: str, download: bool = True) -> Path:
    """Return the folder that ``model_path`` names, whatever it holds.

    Raises:
        InputError: when the path does not exist and is no hub id.
        CheckpointError: when a download fails, or is not allowed and the hub id is not in the local cache.
    """
    if model_path == EMBEDDED:
        return resource("assets", "vita-tiny")
    folder = Path(model_path).expanduser()
    if folder.is_file():
        raise InputError(f"--model_path {model_path} is a file; give the folder that holds it")
    if folder.is_dir():
        return folder
    if is_hub_id(model_path):
        return _download(model_path) if download else _cached(model_path)
    raise InputError(
        f"--model_path {model_path} does not exist; give a checkpoint's folder or a hub id like owner/name"
    )


def is_hub_id(model_path: str) -> bool:
    """Whether ``model_path`` has the form owner/name and is no local path."""
    folder = Path(model_path).expanduser()
    return model_path.count("/") == 1 and not model_path.startswith((".", "/", "~")) and not folder.parent.is_dir()


def config_folder(folder: Path) -> Path | None:
    """Return ``folder`` or its only subfolder that holds the checkpoint's ``config.json``; None without one."""
    if (folder / "config.json").is_file():
        return folder
    below = [file.parent for file in folder.glob("*/config.json") if (file.parent / "tokenizer_config.json").is_file()]
    return below[0] if len(below) == 1 else None


def _with_config(folder: Path) -> Path:
    below = config_folder(folder)
    if below is None:
        raise CheckpointError(f"{folder} holds no config.json; give the folder of a VITA-1.5 checkpoint")
    return below


def _cached(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise CheckpointError(
            f"--model_path {repository} is not in the local hub cache; download it with hf download {repository}"
        ) from None


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not os.isatty(2):
        disable_progress_bars()
    try:
        return Path(snapshot_download(repository, allow_patterns=_NEEDED))
    except Exception as error:
        # The hub client raises errors of many libraries; the first sentence of the message is enough.
        reason = re.split(r"\.\s|\n", str(error).strip(), maxsplit=1)[0].rstrip(".") or type(error).__name__
        if os.environ.get("HF_HUB_OFFLINE"):
            reason = "it is not in the local hub cache, and HF_HUB_OFFLINE is set"
        raise CheckpointError(
            f"--model_path {repository} cannot be downloaded ({reason}); give a local folder"
        ) from error
