"""All media of a request, read in the decoding process by the code that reads them elsewhere."""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from vita_demo.errors import MediaError, VitaDemoError
from vita_demo.files.download import MAX_S
from vita_demo.files.object_store import ObjectPath, fetch_object, named_as
from vita_demo.preprocess.decoder import RefusedError, Reply, answer_here
from vita_demo.preprocess.decoding.answers import BEAT_S, Answers
from vita_demo.preprocess.decoding.refusal import Refusal, refusal_of
from vita_demo.preprocess.media import load_media
from vita_demo.request import Request


class _Kept:
    """Keeps the parts of an answer."""

    def __init__(self, answers: Answers) -> None:
        self.replies: list[Reply] = []
        self._answers = answers

    def send(self, content: bytes = b"", **fields: Any) -> None:
        self.replies.append(Reply(fields["kind"], fields, content))

    def beat(self) -> None:
        self._answers.beat()


def send_media(request: dict[str, Any], answers: Answers, answer: Callable[[dict[str, Any], Answers], None]) -> None:
    """Send a request's tiles, filter bank and notes; what reading them asks of a decoding process, ``answer`` does.

    Raises:
        Refusal: named after the error that reading raised.
    """

    def ask(inner: dict[str, Any], _: str) -> list[Reply]:
        kept = _Kept(answers)
        try:
            answer(inner, kept)
        except Exception as error:
            refusal = refusal_of(error)
            raise RefusedError(refusal.kind, refusal.text) from error
        return kept.replies

    answer_here(ask)
    with suppress(OSError):
        os.chdir(bytes.fromhex(request["folder"]))  # for relative paths
    try:
        asked, config = pickle.loads(bytes.fromhex(request["content"]))  # noqa: S301 - from who started this
        with _all_here(asked, Path(os.fsdecode(bytes.fromhex(request["copies"]))), answers.beat) as asked:
            media = load_media(asked, config)
    except VitaDemoError as error:
        raise Refusal(type(error).__name__, str(error)) from error
    for kind, array in (("tiles", media.tiles), ("fbank", media.fbank)):
        if array is not None:
            answers.send(array.tobytes(), kind=kind, shape=array.shape)
    answers.send(kind="notes", modality=media.modality, frames=media.frames, notes=media.notes)


@contextmanager
def _all_here(request: Request, folder: Path, beat: Callable[[], None]) -> Iterator[Request]:
    """Give a request whose files are all on this machine: those of elsewhere are copied into ``folder``."""
    copies: dict[Path, Path] = {}

    def here(path: Path, flag: str) -> Path:
        if not isinstance(path, ObjectPath):
            return path
        copy: Path = folder / str(len(copies)) / path.name
        copy.parent.mkdir()
        copies[copy] = path
        _fetch(path, copy, flag, beat)
        return copy

    with named_as(copies):
        images = tuple(here(path, "--image_path") for path in request.image_paths)
        video = request.video_path and here(request.video_path, "--video_path")
        audio = request.audio_path and here(request.audio_path, "--audio_path")
        yield replace(request, image_paths=images, video_path=video, audio_path=audio) if copies else request


def _fetch(path: ObjectPath, copy: Path, flag: str, beat: Callable[[], None]) -> None:
    """Fetch a file with signs of life, in a thread: a store that does not answer is asked again for minutes.

    Raises:
        MediaError: when it takes too long; see also ``fetch_object``.
    """
    pool, end_s = ThreadPoolExecutor(1), time.monotonic() + MAX_S
    fetched = pool.submit(fetch_object, path, copy, flag)
    pool.shutdown(wait=False)
    while not wait([fetched], BEAT_S).done:
        beat()
        if time.monotonic() > end_s:
            raise MediaError(f"{flag} {path} cannot be read (its store takes over {MAX_S:.0f} s); try again later")
    fetched.result()
