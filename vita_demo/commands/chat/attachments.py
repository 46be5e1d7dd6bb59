"""The files that go with the next question of a chat."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vita_demo.errors import InputError
from vita_demo.files.local import expand, is_url

Fetch = Callable[[str, str], Path]


@dataclass(frozen=True)
class Attachments:
    """Pictures or a video, and a sound, as a ``Request`` has them.

    Raises:
        InputError: when there are both pictures and a video.
    """

    image_paths: tuple[Path, ...] = ()
    video_path: Path | None = None
    audio_path: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what no question could have."""
        if self.image_paths and self.video_path is not None:
            raise InputError(
                f"{self.image_paths[0].name} and {self.video_path.name} do not go together: "
                "a question is about pictures or a video; ask about one first"
            )

    @property
    def names(self) -> str:
        """The files' names; empty without any."""
        paths = (*self.image_paths, *(path for path in (self.video_path, self.audio_path) if path is not None))
        return " + ".join(path.name for path in paths)


def paths_after(command: str, argument: str, exist: bool = True, fetch: Fetch | None = None) -> tuple[Path, ...]:
    """Read what follows ``command`` as paths: one that may hold spaces, or several in shell quoting.

    ``fetch`` makes paths of data URIs and URLs, of a word and the command.

    Raises:
        InputError: when there is none, a quote is not closed, or they shall ``exist`` and one does not.
        MediaError: when a URL cannot be fetched.
    """
    whole = expand(Path(argument))
    if argument and _exists(whole):
        return (whole,)
    try:
        words = shlex.split(argument)
    except ValueError as error:
        raise InputError(f"{command} {argument}: {error}; check the quotes and the path") from error
    paths = tuple(
        fetch(word, command) if fetch and (word.startswith("data:") or is_url(word)) else expand(Path(word))
        for word in words
    )
    if not paths:
        raise InputError(f"{command} needs a path after it")
    for path in paths:
        if exist and not _exists(path):
            raise InputError(f"{command} {path}: there is no such file; check the path")
    return paths


def path_after(command: str, argument: str, exist: bool = True, fetch: Fetch | None = None) -> Path:
    """Return the only path; see ``paths_after``.

    Raises:
        InputError: also when there are more.
    """
    paths = paths_after(command, argument, exist, fetch)
    if len(paths) > 1:
        raise InputError(f"{command} takes one path, not {len(paths)}; quote a path that holds spaces")
    return paths[0]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A name that is too long for the file system.
        return False
