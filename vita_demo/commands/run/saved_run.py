"""A run in a folder, whole enough to be run again: ``run.json``, ``events.jsonl``, and media that were no files."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from vita_demo.checkpoint.source import ModelSource
from vita_demo.errors import InputError
from vita_demo.files.local import TemporaryPath
from vita_demo.generation.event_record import event_record
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class SavedRun:
    """What is needed to repeat a run, and what it gave.

    Attributes:
        request: what was asked.
        options: how it was generated, seed included.
        source: the model, with the device, dtype and threads that were used.
        report: the object that ``--json`` prints.
        digests: of the media, by their absolute paths; empty in runs that were saved without.
    """

    request: Request
    options: GenerationOptions
    source: ModelSource
    report: dict[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict)

    def save(self, folder: Path, events: Iterable[Event]) -> None:
        """Write the files, with absolute paths; an older run in the folder is replaced.

        Raises:
            InputError: when the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            request = _with_own_media(self.request, folder)
            content = {
                "schema_version": SCHEMA_VERSION,
                "request": request.to_json(absolute=True),
                "media": {str(path.absolute()): digest(path) for path in request.paths},
                "options": asdict(self.options),
                "model": self.source.to_json(),
                "report": self.report,
            }
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            # Names of files may have any bytes, which Python keeps as surrogates.
            (folder / "run.json").write_text(text, "utf-8", "surrogateescape")
            lines = (json.dumps(event_record(event), ensure_ascii=False) + "\n" for event in events)
            (folder / "events.jsonl").write_text("".join(lines), "utf-8")
        except OSError as error:
            raise _unwritable(folder, error) from error

    def changed_media(self) -> list[str]:
        """Return the names of files whose content is not what it was."""
        paths = [Path(name) for name in self.digests]
        return [path.name for path in paths if digest(path) != self.digests[str(path)]]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder that ``save`` wrote.

        Raises:
            InputError: when it holds no run, or files that the run read are gone.
        """
        try:
            content = json.loads((folder / "run.json").read_text("utf-8", "surrogateescape"))
            if content["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema version {content['schema_version']} instead of {SCHEMA_VERSION}")
            options = {name: _tuples(value) for name, value in content["options"].items()}
            request, source = Request.from_json(content["request"]), ModelSource.from_json(content["model"])
            digests = content.get("media", {})
            return cls(request, GenerationOptions(**options), source, content["report"], digests)
        except FileNotFoundError:
            raise InputError(f"{folder} holds no run.json; give a folder that --save_run wrote") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / 'run.json'} cannot be read ({error}); save the run again") from error


def make_folder(folder: Path, overwrite: bool) -> None:
    """Make a folder for a run, before anything is loaded.

    Raises:
        InputError: when it cannot be made, or holds a run that shall not be replaced.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        exists = (folder / "run.json").exists()
    except OSError as error:
        raise _unwritable(folder, error) from error
    if exists and not overwrite:
        raise InputError(f"--save_run {folder} holds a run already; give --overwrite to replace it, or another folder")


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"--save_run {folder} cannot be written ({error.strerror}); give another folder")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files and their names, in hexadecimal digits."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        names = "".join(f"{digest(file)} {file.name}\n" for file in files)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_own_media(request: Request, folder: Path) -> Request:
    """Copy temporary files, as stdin and URLs become, into the run's folder, and let the request name the copies."""

    def own(path: Path, kind: str) -> Path:
        if not isinstance(path, TemporaryPath):
            return path
        copy = folder / f"{kind}-{path.name}"
        if path.is_dir():
            return Path(shutil.copytree(path, copy, dirs_exist_ok=True))
        return Path(shutil.copyfile(path, copy))

    images = tuple(own(path, f"image{number}") for number, path in enumerate(request.image_paths, 1))
    video, audio = request.video_path, request.audio_path
    return replace(
        request,
        image_paths=images,
        video_path=video and own(video, "video"),
        audio_path=audio and own(audio, "audio"),
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
