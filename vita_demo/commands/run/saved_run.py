"""A run in a folder, whole enough to be run again: ``run.json`` and ``events.jsonl``."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from vita_demo.commands.run.answer_writer import event_record
from vita_demo.errors import InputError
from vita_demo.generation.events import EndEvent, TokenEvent
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request

_PATHS = ("video_path", "audio_path")


@dataclass(frozen=True)
class SavedRun:
    """What is needed to repeat a run, and what it gave.

    Attributes:
        request: what was asked; its paths are absolute.
        options: how it was generated, seed included.
        model: the flags that chose the model: model_path, vision_tower, audio_encoder, device, dtype, quantize and
            compiled.
        report: the object that ``--json`` prints.
    """

    request: Request
    options: GenerationOptions
    model: dict[str, Any]
    report: dict[str, Any]

    def save(self, folder: Path, events: Iterable[TokenEvent | EndEvent]) -> None:
        """Write both files; an older run in the folder is replaced.

        Raises:
            InputError: when the folder cannot be written.
        """
        request = asdict(self.request)
        request["image_paths"] = [str(path.resolve()) for path in self.request.image_paths]
        request |= {name: str(path.resolve()) for name in _PATHS if (path := request[name]) is not None}
        model = {name: None if value is None else str(value) for name, value in self.model.items()}
        content = {"schema_version": 1, "request": request, "options": asdict(self.options), "model": model,
                   "report": self.report}  # fmt: skip
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "run.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
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
            content = json.loads((folder / "run.json").read_text("utf-8"))
            request, options = content["request"], content["options"]
            request["image_paths"] = tuple(Path(path) for path in request["image_paths"])
            request |= {name: Path(request[name]) for name in _PATHS if request[name] is not None}
            for field in fields(GenerationOptions):
                if isinstance(options.get(field.name), list):
                    options[field.name] = _tuples(options[field.name])
            return cls(Request(**request), GenerationOptions(**options), content["model"], content["report"])
        except FileNotFoundError:
            raise InputError(f"{folder} holds no run.json; give a folder that --save_run wrote") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / 'run.json'} cannot be read ({error}); save the run again") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
