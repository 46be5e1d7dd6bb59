"""Requests that cannot be answered are refused before anything is loaded."""

from pathlib import Path

import pytest

from vita_demo.errors import InputError
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
        ({"question": "?", "video_path": b"a"}, "video_path b'a' is no path"),
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
