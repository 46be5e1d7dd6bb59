"""The small files of a checkpoint, read before torch is imported, so that errors in them are reported at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.locate import locate_checkpoint
from vita_demo.checkpoint.tokenizer import VitaTokenizer


@dataclass(frozen=True)
class Settings:
    """A checkpoint's folder, hyper-parameters and tokenizer."""

    folder: Path
    config: VitaConfig
    tokenizer: VitaTokenizer

    @classmethod
    def read(cls, model_path: str, vision_tower: Path | None = None, audio_encoder: Path | None = None) -> Self:
        """Find the checkpoint and read its small files.

        Raises:
            InputError: when the path does not exist.
            CheckpointError: when a file is missing or damaged, or this is another model.
        """
        folder = locate_checkpoint(model_path)
        config = VitaConfig.from_pretrained(folder, vision_tower, audio_encoder)
        return cls(folder, config, VitaTokenizer.from_pretrained(folder))
