"""Turns what the user calls the model into a folder on this machine."""

import os
from pathlib import Path

from vita_demo.errors import CheckpointError, InputError

EMBEDDED = "embedded"
NOTICE = "the embedded model is untrained: its words mean nothing. Give --model_path for a real answer"
_NEEDED = ["*.json", "*.safetensors", "merges.txt", "vocab.json", "*train.yaml", "*global_cmvn"]


def locate_checkpoint(model_path: str) -> Path:
    """Return the checkpoint's folder; a hub id is taken from the local cache or downloaded.

    Raises:
        InputError: when the path does not exist and is no hub id.
        CheckpointError: when the folder holds no checkpoint, or a download fails.
    """
    if model_path == EMBEDDED:
        from vita_demo.embedded import embedded_checkpoint

        return embedded_checkpoint()
    folder = Path(model_path).expanduser()
    if folder.is_file():
        raise InputError(f"--model_path {model_path} is a file; give the folder that holds it")
    if folder.is_dir():
        return _with_config(folder)
    if model_path.count("/") == 1 and not model_path.startswith((".", "/", "~")) and not folder.parent.is_dir():
        return _with_config(_download(model_path))
    raise InputError(
        f"--model_path {model_path} does not exist; give a checkpoint's folder or a hub id like owner/name"
    )


def _with_config(folder: Path) -> Path:
    if (folder / "config.json").is_file():
        return folder
    below = [file.parent for file in folder.glob("*/config.json") if (file.parent / "tokenizer_config.json").is_file()]
    if len(below) == 1:
        return below[0]
    raise CheckpointError(f"{folder} holds no config.json; give the folder of a VITA-1.5 checkpoint")


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not os.isatty(2):
        disable_progress_bars()
    try:
        return Path(snapshot_download(repository, allow_patterns=_NEEDED))
    except Exception as error:
        # The hub client raises errors of many libraries; its first line says which.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"--model_path {repository} cannot be downloaded ({reason}); give a local folder"
        ) from error
