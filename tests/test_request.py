"""Requests that cannot be answered are refused before anything is loaded."""

import base64
import gc
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ASSETS
from vita_demo.errors import InputError
from vita_demo.preprocess.audio import load_audio
from vita_demo.preprocess.image import load_image
from vita_demo.preprocess.video import load_frames
from vita_demo.request import Request, check_request, fits_one_question


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    return path


def test_media_and_question_combine_freely(file: Path) -> None:
    Request(question="?", image_paths=(file, file), audio_path=file)
    Request(video_path=file.parent, audio_path=file)


def test_paths_may_be_text_and_a_picture_alone(file: Path) -> None:
    request = Request(question="?", image_paths=str(file), audio_path=str(file))
    assert request == Request(question="?", image_paths=(file,), audio_path=file)
    assert Request(question="?", image_paths=[str(file), file]).image_paths == (file, file)
    assert Request(question="?", image_paths=file).image_paths == (file,)


@pytest.mark.parametrize("request_", ["hi", None, {"question": "hi"}])
def test_what_is_no_request_is_told_how_to_become_one(request_: object) -> None:
    with pytest.raises(InputError, match=r"is no Request; give Request\(question="):
        check_request(request_)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "nothing to answer"),
        ({"question": " \n"}, "nothing to answer"),
        ({"question": "?", "fps": 0.0}, "--fps 0"),
        ({"question": "?", "fps": float("nan")}, "--fps nan"),
        ({"question": "?", "fps": float("inf")}, "--fps inf"),
        ({"question": "?", "start_s": float("nan")}, "--start nan"),
        ({"question": "?", "end_s": float("inf")}, "--end inf"),
        ({"question": "caf\udce9"}, "--question is not UTF-8 at its character 4"),
        ({"question": 3}, "--question 3 is no text"),
        ({"question": "?", "image_paths": 3}, "image_paths 3 is no path"),
        ({"question": "?", "image_paths": (3,)}, "image_paths 3 is no path"),
        ({"question": "?", "video_path": 3}, "video_path 3 is no path"),
        ({"question": "?", "image_paths": "https://example.org/x.png"}, "is a URL; download it"),
        ({"question": "?", "image_paths": "data:image/png;base64"}, "is no data URI"),
        ({"question": "?", "image_paths": "data:;base64,!"}, "is no data URI"),
        ({"question": "?", "image_paths": np.zeros((4, 4, 3))}, r"float64 \[4, 4, 3\]; give pixels as uint8"),
        ({"question": "?", "image_paths": np.zeros((4, 4, 2), np.uint8)}, "give pixels as uint8"),
        ({"audio_path": ("x", 16_000)}, "is no sound"),
        ({"question": "?", "image_paths": ASSETS / "question.wav"}, "is a sound file; give it as --audio_path"),
        ({"question": "?", "image_paths": ASSETS / "moving.mp4"}, "is a video file; give it as --video_path"),
        ({"question": "?", "video_path": ASSETS / "question.wav"}, "is a sound file; give it as --audio_path"),
        ({"audio_path": ASSETS / "scene.png"}, "is a picture file; give it as --image_path"),
        ({"question": "?", "max_frames": 0}, "--max_frames 0"),
        ({"question": "?", "start_s": -1.0}, "--start -1"),
        ({"question": "?", "start_s": 3.0, "end_s": 3.0}, "--end 3"),
        ({"question": "?", "image_paths": (Path("gone.png"),)}, "--image_path gone.png does not exist"),
        ({"question": "?", "video_path": Path("gone.mp4")}, "--video_path gone.mp4 does not exist"),
        ({"audio_path": Path("gone.wav")}, "--audio_path gone.wav does not exist"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(values: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Request(**values)
    assert caught.value.exit_code == 2


def test_pictures_and_a_video_together_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match="pictures or a video"):
        Request(question="?", image_paths=(file,), video_path=file)


@pytest.mark.parametrize(
    ("pictures", "videos", "sounds", "fits"),
    [(3, 0, 1, True), (0, 1, 1, True), (0, 0, 0, True), (1, 1, 0, False), (0, 2, 0, False), (0, 0, 2, False)],
)
def test_one_question_holds_pictures_or_one_video_and_one_sound(
    pictures: int, videos: int, sounds: int, fits: bool
) -> None:
    assert fits_one_question(pictures, videos, sounds) is fits


def test_folders_and_empty_files_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        Request(question="?", image_paths=(file.parent,))
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        Request(audio_path=file)


SCENE = ASSETS / "scene.png"


def as_picture(kind: str) -> object:
    if kind == "data URI":
        return "data:image/png;base64," + base64.b64encode(SCENE.read_bytes()).decode()
    if kind == "bytes":
        return SCENE.read_bytes()
    return Image.open(SCENE) if kind == "image" else np.asarray(Image.open(SCENE).convert("RGB"))


@pytest.mark.parametrize("kind", ["data URI", "bytes", "image", "array"])
def test_pictures_may_be_values(kind: str) -> None:
    for given in (as_picture(kind), [as_picture(kind)]):
        (path,) = Request(question="?", image_paths=given).image_paths
        expected, found = load_image(SCENE), load_image(path)
        assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_any_mode_are_taken(mode: str) -> None:
    image = Image.new(mode, (4, 4))
    assert load_image(Request(question="?", image_paths=image).image_paths[0]).size == (4, 4)


def test_the_orientation_of_an_image_is_kept() -> None:
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(content, "JPEG", exif=exif)
    (path,) = Request(question="?", image_paths=Image.open(content)).image_paths
    assert load_image(path).size == (4, 8)


def test_sounds_and_videos_may_be_values() -> None:
    samples = np.sin(np.arange(1600) / 9).astype(np.float32)
    read = [
        load_audio(Request(audio_path=given).audio_path, 16_000)
        for given in (
            (samples, 16_000),
            ((samples * 32767).astype(np.int16), 16_000),
            [np.stack([samples] * 2, 1), 16_000],
        )
    ]
    for other in read:
        assert other == pytest.approx(samples, abs=1e-4)
    frames = np.arange(12, dtype=np.uint8).repeat(48).reshape(12, 4, 4, 3)
    for given in (frames, [*frames], [Image.fromarray(frame) for frame in frames]):
        found = load_frames(Request(question="?", video_path=given).video_path)
        assert [image.getpixel((0, 0))[0] for image in found.images] == [*range(12)]
    content = (ASSETS / "moving.mp4").read_bytes()
    assert load_frames(Request(question="?", video_path=content).video_path).total == 54


def test_a_values_file_lives_as_long_as_a_request_has_it() -> None:
    request = Request(question="?", image_paths=SCENE.read_bytes())
    other = replace(request, question="!")
    path = str(request.image_paths[0])
    del request
    gc.collect()
    assert Path(path).read_bytes() == SCENE.read_bytes()
    del other
    gc.collect()
    assert not Path(path).parent.exists()


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").write_bytes(b"x")
    assert Request(question="?", image_paths="~/x").image_paths == (tmp_path / "x",)
    with pytest.raises(InputError, match="~nobody-here/x does not exist"):
        Request(question="?", image_paths=Path("~nobody-here/x"))


@pytest.mark.parametrize(
    ("content", "fits"),
    [
        (b"GIF89a", ("image", "video")),
        (b"RIFF....WEBP", ("image", "video")),
        (b"\0\0\0\x18ftypavif", ("image", "video")),
        (b"\0\0\0\x18ftypisom", ("video", "audio")),
        (b"\0\0\0\x18ftypM4A ", ("audio",)),
        (b"RIFF....AVI ", ("video", "audio")),
        (b"OggS", ("video", "audio")),
        (b"ID3", ("audio",)),
        (b"anything", ("image", "video", "audio")),
    ],
)
def test_what_a_file_certainly_is_decides_where_it_may_go(
    tmp_path: Path, content: bytes, fits: tuple[str, ...]
) -> None:
    (tmp_path / "x").write_bytes(content + b"x")
    for name in ("image_paths", "video_path", "audio_path"):
        if name.split("_")[0] in fits:
            Request(question="?", **{name: tmp_path / "x"})
        else:
            with pytest.raises(InputError, match="give it as --"):
                Request(question="?", **{name: tmp_path / "x"})
