"""The files that go with the next question of a chat."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from vita_demo.errors import InputError


@dataclass(frozen=True)
class Attachments:
    """Pictures or a video, and a sound.

    Raises:
        InputError: when there are both pictures and a video.
    """

    images: tuple[Path, ...] = ()
    video: Path | None = None
    audio: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what no question could have."""
        if self.images and self.video is not None:
            raise InputError(
                f"{self.images[0].name} and {self.video.name} do not go together: a question is about pictures or "
                "a video; ask about one first"
            )

    @property
    def names(self) -> str:
        """The files' names; empty without any."""
        paths = (*self.images, *(path for path in (self.video, self.audio) if path is not None))
        return " + ".join(path.name for path in paths)


def split_paths(command: str, argument: str) -> tuple[Path, ...]:
    """Read what follows ``command`` as paths: one that may hold spaces, or several in shell quoting.

    Raises:
        InputError: when there is none, or a quote is not closed.
    """
    try:
        whole = Path(argument).expanduser()
        if argument and _exists(whole):
            return (whole,)
        paths = tuple(Path(word).expanduser() for word in shlex.split(argument))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{command} {argument}: {error}; check the quotes and the path") from error
    if not paths:
        raise InputError(f"{command} needs a path after it")
    return paths


def existing_paths(command: str, argument: str) -> tuple[Path, ...]:
    """Read what follows ``command`` as paths of files that are there.

    Raises:
        InputError: naming the one that is not.
    """
    paths = split_paths(command, argument)
    for path in paths:
        if not _exists(path):
            raise InputError(f"{command} {path}: there is no such file; check the path")
    return paths


def single_path(command: str, paths: tuple[Path, ...]) -> Path:
    """Return the only path.

    Raises:
        InputError: when there are more.
    """
    if len(paths) > 1:
        raise InputError(f"{command} takes one path, not {len(paths)}; quote a path that holds spaces")
    return paths[0]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A name that is too long for the file system.
        return False
