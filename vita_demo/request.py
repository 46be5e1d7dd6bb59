"""A question with its media, validated."""

import math
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from vita_demo.errors import InputError
from vita_demo.files.kind import other_flag
from vita_demo.files.local import as_path
from vita_demo.files.object_store import ObjectPath


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames of a video to sample.

    Attributes:
        fps: frames sampled per second.
        max_frames: upper limit; more frames are thinned uniformly.
        start_s, end_s: the part of the video to sample, in seconds; None is the video's start and its end.

    Raises:
        InputError: when a value is out of range; the message names the flag.
    """

    fps: float = 1.0
    max_frames: int = 16
    start_s: float | None = None
    end_s: float | None = None

    def __post_init__(self) -> None:
        """Validate the ranges."""
        for name, value in (("--fps", self.fps), ("--start", self.start_s), ("--end", self.end_s)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name} {value:g} is no finite number; give seconds or frames a second")
        if not self.fps > 0:
            raise InputError(f"--fps {self.fps:g} must be above 0; 1 is one frame a second")
        if self.max_frames < 1:
            raise InputError(f"--max_frames {self.max_frames} must be at least 1; the model was trained with up to 16")
        start_s = self.start_s or 0.0
        if start_s < 0:
            raise InputError(f"--start {start_s:g} must not be negative; it counts seconds from the video's start")
        if self.end_s is not None and self.end_s <= start_s:
            raise InputError(f"--end {self.end_s:g} must come after --start {start_s:g}; both are seconds of the video")


@dataclass(frozen=True)
class Request(Sampling):
    """One question with its media.

    Attributes:
        question: the typed question; may be empty if a sound asks it.
        image_paths: pictures, in the order of the prompt; a single one may come without a tuple.
        video_path: a video file, or a folder of pictures that are its frames in natural order.
        audio_path: a sound file, or a video file whose sound track is used.
        frame_cat: whether the projector that joins five frames is wanted (``--frameCat``).

    Paths may be text.  Data URIs, bytes, Pillow images and arrays are taken too and become temporary files, which live
    as long as a request has their paths; see ``files.local.as_path``.  An ``ObjectPath`` is checked when it is fetched,
    by the process that reads it.

    Raises:
        InputError: when a value is out of range, a path does not exist, a file is
            certainly of another kind, or there is nothing to ask.
    """

    question: str = ""
    image_paths: tuple[Path, ...] = ()
    video_path: Path | None = None
    audio_path: Path | None = None
    frame_cat: bool = False

    def __post_init__(self) -> None:
        """Validate the request before anything is loaded."""
        self._make_paths()
        check_text(self.question, "--question")
        if not self.question.strip() and self.audio_path is None:
            raise InputError("there is nothing to answer: give --question TEXT, --audio_path FILE, or both")
        if not fits_one_question(len(self.image_paths), self.video_path is not None, self.audio_path is not None):
            raise InputError(
                f"--image_path {self.image_paths[0]} and --video_path {self.video_path} were both given: "
                "the model sees pictures or a video, so leave one out"
            )
        super().__post_init__()
        for path in self.image_paths:
            _check_medium(path, "--image_path")
        if self.video_path is not None:
            _check_medium(self.video_path, "--video_path")
        if self.audio_path is not None:
            _check_medium(self.audio_path, "--audio_path")

    def _make_paths(self) -> None:
        images: Any = self.image_paths
        images = tuple(images) if isinstance(images, list | tuple) else (images,)
        object.__setattr__(self, "image_paths", tuple(as_path(path, "image_paths") for path in images))
        for name in ("video_path", "audio_path"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else as_path(value, name))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the request reads."""
        return tuple(path for path in (*self.image_paths, self.video_path, self.audio_path) if path is not None)

    def to_json(self, absolute: bool = False) -> dict[str, Any]:
        """Return the fields as JSON values; ``absolute`` makes relative paths absolute."""

        def plain(value: Any) -> Any:
            if isinstance(value, tuple):
                return [plain(item) for item in value]
            return str(value.absolute() if absolute else value) if isinstance(value, Path) else value

        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned; unknown names are ignored.

        Raises:
            InputError: when files are gone.
            TypeError: when a path is no text.
        """
        values = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        return cls(**values)


def fits_one_question(pictures: int, videos: int, sounds: int) -> bool:
    """Whether one question can have these files: pictures or a single video, and at most one sound."""
    return videos + (pictures > 0) <= 1 and sounds <= 1


def check_file(path: Path, flag: str, or_folder: bool = False) -> None:
    """Refuse a path that is no readable file, nor, where that will do, a folder.

    Raises:
        InputError: when it is a folder, cannot be read or is empty; the message names ``flag``.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{flag} {path} does not exist; check the path") from None
    except ValueError as error:  # a zero, or what no file system can write
        raise InputError(f"{flag} {ascii(str(path))[:200]} is no path ({error.args[-1]}); check it") from error
    except OSError as error:
        raise InputError(f"{flag} {str(path)[:200]} cannot be read ({error.strerror}); check the path") from error
    if stat.S_ISDIR(status.st_mode) and not or_folder:
        raise InputError(f"{flag} {path} is a folder; give a file")
    if status.st_size == 0:
        raise InputError(f"{flag} {path} is empty (0 bytes); give another file")


def _check_medium(path: Path, flag: str) -> None:
    if isinstance(path, ObjectPath):
        return  # it is checked when it is here
    check_file(path, flag, or_folder=flag == "--video_path")
    with suppress(PermissionError, IsADirectoryError):  # reading reports the former
        other = other_flag(path, flag)
        if other is not None:
            raise InputError(f"{flag} {path} is a {other[0]} file; give it as {other[1]}")


def refuse_input(path: Path, inputs: Iterable[Path], flag: str) -> None:
    """Refuse to write onto a file that is read, also under another name.

    Raises:
        InputError: naming ``flag``.
    """
    for given in inputs:
        if path.exists() and given.exists() and path.samefile(given):
            raise InputError(f"{flag} {path} is the file that is read; give another path, so that it is kept")


def check_request(request: object) -> None:
    """Refuse what is no ``Request``, saying how to make one.

    Raises:
        InputError: for anything else.
    """
    if not isinstance(request, Request):
        raise InputError(f"{str(request)[:40]!r} is no Request; give Request(question=…, image_paths=…)")


def check_text(text: object, name: str) -> None:
    """Refuse what is no text, or text with bytes that are not UTF-8, which no tokenizer can read.

    Raises:
        InputError: naming ``name``.
    """
    if not isinstance(text, str):
        raise InputError(f"{name} {text!r:.40} is no text; give a str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} is not UTF-8 at its character {error.start + 1}; give it in UTF-8, as terminals do by default"
        ) from None
