"""Finds the settings of the two encoders of a checkpoint.

The released ``config.json`` names one by a hub id and the other by a folder on the authors' machine, so the names
alone are not enough.  The weights are in the main checkpoint; only the small settings files are searched for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vita_demo.errors import CheckpointError, InputError
from vita_demo.resources import resource

Kind = Literal["vision", "audio"]

_FLAG = {"vision": "--vision_tower", "audio": "--audio_encoder"}
_FILE = {"vision": "config.json", "audio": "train.yaml"}
_RELEASED = {"vision": "InternViT-300M-448px", "audio": "audio-encoder"}


@dataclass(frozen=True)
class EncoderSettings:
    """A folder of settings, and where it was found."""

    kind: Kind
    folder: Path
    reason: str


def find_encoder_settings(kind: Kind, name: str | None, checkpoint: Path, override: Path | None) -> EncoderSettings:
    """Return the first settings that exist, in this order.

    The user's flag; the path as written in ``config.json``; a folder of that name inside or beside the checkpoint;
    the local hub cache; the released model's settings, which ship with this package.  These are a guess, which the
    strict loading of the weights confirms or rejects.

    Raises:
        InputError: when the user's flag names a folder without settings.
        CheckpointError: when ``config.json`` names no encoder at all.
    """
    file = _FILE[kind]
    if override is not None:
        folder = override.expanduser()
        if not (folder / file).is_file():
            raise InputError(f"{_FLAG[kind]} {override} holds no {file}; give the folder that does")
        return EncoderSettings(kind, folder, f"given by {_FLAG[kind]}")
    if not name:
        raise CheckpointError(f"{checkpoint / 'config.json'} names no {kind} encoder; give one with {_FLAG[kind]}")
    for folder, reason in _candidates(kind, name, checkpoint):
        if (folder / file).is_file():
            return EncoderSettings(kind, folder, reason)
    raise CheckpointError(f"no settings of the {kind} encoder {name} were found; give their folder with {_FLAG[kind]}")


def _candidates(kind: Kind, name: str, checkpoint: Path) -> Iterator[tuple[Path, str]]:
    short = Path(name).name
    yield Path(name), "the path in config.json"
    yield checkpoint / name, "inside the checkpoint"
    yield checkpoint / short, "inside the checkpoint"
    yield checkpoint.resolve().parent / short, "beside the checkpoint"
    cached = _hub_cache(name, _FILE[kind])
    if cached is not None:
        yield cached, "in the local hub cache"
    yield resource("configs", "vita15", _RELEASED[kind]), "the released model's, shipped with vita-demo"


def _hub_cache(name: str, file: str) -> Path | None:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, file)
    return Path(path).parent if isinstance(path, str) else None
