"""A run in a folder, whole enough to be run again: ``run.json`` and ``events.jsonl``."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.run.answer_writer import event_record
from vita_demo.errors import InputError
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
    """

    request: Request
    options: GenerationOptions
    source: ModelSource
    report: dict[str, Any]

    def save(self, folder: Path, events: Iterable[Event]) -> None:
        """Write both files, with absolute paths; an older run in the folder is replaced.

        Raises:
            InputError: when the folder cannot be written.
        """
        content = {
            "schema_version": SCHEMA_VERSION,
            "request": self.request.to_json(absolute=True),
            "options": asdict(self.options),
            "model": self.source.to_json(),
            "report": self.report,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            # Names of files may have any bytes, which Python keeps as surrogates.
            (folder / "run.json").write_text(text, "utf-8", "surrogateescape")
            lines = (json.dumps(event_record(event), ensure_ascii=False) + "\n" for event in events)
            (folder / "events.jsonl").write_text("".join(lines), "utf-8")
        except OSError as error:
            raise InputError(
                f"--save_run {folder} cannot be written ({error.strerror}); give another folder"
            ) from error

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
            return cls(request, GenerationOptions(**options), source, content["report"])
        except FileNotFoundError:
            raise InputError(f"{folder} holds no run.json; give a folder that --save_run wrote") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / 'run.json'} cannot be read ({error}); save the run again") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
