"""Media that the decoding process reads whole: the same as here, and nothing that they do is felt here."""

import os
import signal
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.conftest import ASSETS, DATA
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.errors import MediaError
from vita_demo.files.kind import other_flag
from vita_demo.files.object_store import ObjectPath
from vita_demo.preprocess import decoder, media
from vita_demo.preprocess.decoding import request as decoding_request
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request
from vita_demo.resources import resource

FILES = [*sorted((DATA / "media").iterdir()), *(ASSETS / name for name in ("scene.png", "moving.mp4", "question.wav"))]
SCENE = Request(question="?", image_paths=(ASSETS / "scene.png",))


@pytest.fixture(scope="module")
def config() -> VitaConfig:
    return VitaConfig.from_pretrained(resource("assets", "vita-tiny"))


def outcome(request: Request, config: VitaConfig, isolated: bool) -> dict[str, object]:
    """What was read, or the error."""
    try:
        found = asdict(load_media(request, config, lambda: 0.0, isolated=isolated))
    except MediaError as error:
        return {"error": type(error), "text": str(error)}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param(path, kind, id=f"{path.name}-{kind}")
        for path in FILES
        for kind in ("image_paths", "video_path", "audio_path")
        if other_flag(path, f"--{kind.removesuffix('s')}") is None
    ],
)
def test_the_same_is_read_or_refused(config: VitaConfig, path: Path, kind: str) -> None:
    request = Request(question="?", **{kind: path})
    assert outcome(request, config, isolated=True) == outcome(request, config, isolated=False)


def test_several_files_folders_and_relative_paths_are_read(
    config: VitaConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_media(SCENE, config, isolated=True)
    monkeypatch.chdir(tmp_path)
    Path("frames").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(f"frames/{number}.png")
    soundfile.write("x.flac", np.sin(np.arange(44_100) / 9), 44_100)
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    for request in (
        Request(video_path="frames", audio_path="x.flac"),
        Request(image_paths=("frames/1.png", "frames/2.png"), audio_path="x.flac"),
        Request(question="?", image_paths="broken.png"),
        Request(question="only text"),
    ):
        assert outcome(request, config, isolated=True) == outcome(request, config, isolated=False)


def test_arrays_can_be_written_to(config: VitaConfig) -> None:
    found = load_media(
        Request(image_paths=SCENE.image_paths, audio_path=ASSETS / "question.wav"), config, isolated=True
    )
    assert found.tiles is not None
    assert found.fbank is not None
    assert found.tiles.flags.writeable
    assert found.fbank.flags.writeable


def test_nothing_is_decoded_here(config: VitaConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(media, "load_image", refuse)
    monkeypatch.setattr(media, "load_audio", refuse)
    request = Request(image_paths=SCENE.image_paths, audio_path=ASSETS / "question.wav")
    assert load_media(request, config, isolated=True).fbank is not None
    with pytest.raises(AssertionError):
        load_media(request, config)


def stopped_process(config: VitaConfig, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the next file meet a process that does nothing; return its id."""
    load_media(SCENE, config, isolated=True)
    process = decoder._idle[-1]
    os.kill(process._child.pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder, "_idle", [process])
    return process._child.pid


def test_a_store_that_does_not_answer_is_waited_for_with_signs_of_life_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, beats = threading.Event(), []
    monkeypatch.setattr(decoding_request, "fetch_object", lambda *_: answer.wait(30))
    monkeypatch.setattr(decoding_request, "MAX_S", 0.2)
    monkeypatch.setattr(decoding_request, "BEAT_S", 0.05)
    path = ObjectPath.of("s3://bucket/a.png", "")
    with pytest.raises(
        MediaError, match=r"^--image_path s3://bucket/a.png cannot be read \(its store takes over 0 s\)"
    ):
        decoding_request._fetch(path, tmp_path / "copy", "--image_path", lambda: beats.append(1))
    assert len(beats) > 1
    answer.set()
    decoding_request._fetch(path, tmp_path / "copy", "--image_path", beats.clear)


def test_a_hang_is_ended(config: VitaConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_process(config, monkeypatch)
    monkeypatch.setattr(media, "PICTURE_LIMIT_S", 0.5)
    with pytest.raises(MediaError, match=r"scene\.png takes too long to decode"):
        load_media(SCENE, config, isolated=True)
    monkeypatch.undo()
    assert load_media(SCENE, config, isolated=True).notes


def test_an_end_in_the_middle_is_an_error(config: VitaConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    number = stopped_process(config, monkeypatch)
    threading.Timer(0.3, os.kill, (number, signal.SIGKILL)).start()
    request = Request(image_paths=SCENE.image_paths, audio_path=ASSETS / "question.wav")
    with pytest.raises(MediaError, match=r"scene\.png or .*question\.wav makes the decoder end abruptly"):
        load_media(request, config, isolated=True)
    monkeypatch.undo()
    assert isinstance(load_media(request, config, isolated=True), Media)


def test_a_picture_beyond_the_memory_limit_is_an_error(
    config: VitaConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (9000, 9000)).save(tmp_path / "x.png")
    code = decoder._CODE.split("from ")[0] + (
        "from vita_demo.preprocess.decoding import process; process._MAX_MEMORY_BYTES = 200_000_000; process.main()"
    )
    monkeypatch.setattr(decoder, "_CODE", code)
    monkeypatch.setattr(decoder, "_idle", [])
    with pytest.raises(MediaError, match="scale it down"):
        load_media(Request(question="?", image_paths=tmp_path / "x.png"), config, isolated=True)
    (process,) = decoder._idle
    process.usable = False
    decoder._give_back(process)
