"""Which model to load, on which device and in what precision.  No torch."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.checkpoint.settings import Settings
from vita_demo.errors import InputError

DTYPES = ("auto", "float32", "float16", "bfloat16")
FORMATS = ("int8", "int4")


@dataclass(frozen=True)
class ModelSource:
    """A model as the command line names it; ``Pipeline.of`` loads it.

    Attributes:
        model_path: a checkpoint's folder, a hub id, or "embedded".
        vision_tower, audio_encoder: folders of encoder settings; None finds them in the checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto", "float32", "float16" or "bfloat16".
        quantize: "int8" or "int4" quantizes the language model's matrices; None leaves them in ``dtype``.
        threads: CPU threads of the whole process; None is torch's default, at most one per core.

    Raises:
        InputError: when a name is unknown; whether the device is there is seen when it is used.
    """

    model_path: str = EMBEDDED
    vision_tower: Path | None = None
    audio_encoder: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    quantize: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check the names, which needs no torch."""
        if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", self.device):
            raise InputError(f"--device {self.device} is unknown; give auto, cpu, cuda or cuda:N")
        if self.dtype not in DTYPES:
            raise InputError(f"--dtype {self.dtype} is unknown; give {', '.join(DTYPES)}")
        if self.quantize is not None and self.quantize not in FORMATS:
            raise InputError(f"--quantize {self.quantize} is unknown; give {' or '.join(FORMATS)}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"--threads {self.threads} must be at least 1; leave it out for one a core")

    def read(self) -> Settings:
        """Find the checkpoint and read its small files; see ``Settings.read``."""
        return Settings.read(self.model_path, self.vision_tower, self.audio_encoder)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read what ``to_json`` returned; unknown names are ignored.

        Raises:
            TypeError: when a folder is no text.
        """
        values = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        for name in ("vision_tower", "audio_encoder"):
            values[name] = None if values.get(name) is None else Path(values[name])
        return cls(**values)
