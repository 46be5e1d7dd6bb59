"""Which checkpoint the user means, and how what it lacks is fetched."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from vita_demo.checkpoint.locate import EMBEDDED, RELEASED, config_folder, is_hub_id, locate_folder
from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import VitaDemoError

GROUP = "Checkpoint"


@dataclass(frozen=True)
class Source:
    """A checkpoint as the command line names it.

    Attributes:
        model_path: a folder, a hub id or "embedded".
        vision_tower, audio_encoder: folders of encoder settings that the user gave.
    """

    model_path: str = EMBEDDED
    vision_tower: Path | None = None
    audio_encoder: Path | None = None

    def fetch(self, folder: Path, file: str = "", again: bool = False) -> str:
        """Say how ``file``, or all that is missing, comes to ``folder``; ``again`` replaces what is there."""
        if self.model_path == EMBEDDED:
            return f"delete {folder}; it is made again at the next start"
        hub = is_hub_id(self.model_path)
        words = ("hf download", self.model_path if hub else RELEASED, file, "" if hub else f"--local-dir {folder}",
                 "--force-download" if again else "")  # fmt: skip
        return " ".join(word for word in words if word)


def check_source(source: Source) -> Generator[Finding, None, Path | None]:
    """Find the checkpoint's folder on this machine; return it, or None."""
    try:
        given = locate_folder(source.model_path, download=False)
    except VitaDemoError as error:
        yield Finding.from_error(GROUP, error)
        return None
    folder = config_folder(given) or given
    named = "" if source.model_path in (EMBEDDED, str(folder)) else f" (--model_path {source.model_path})"
    yield Finding(GROUP, "ok", f"{folder}{named}")
    return folder
