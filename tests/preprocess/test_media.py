"""What of each file was used is said."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.conftest import ASSETS
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.errors import MediaError
from vita_demo.preprocess.media import load_media
from vita_demo.request import Request
from vita_demo.resources import resource


@pytest.fixture(scope="module")
def config() -> VitaConfig:
    return VitaConfig.from_pretrained(resource("assets", "vita-tiny"))


def test_text_alone_reads_nothing(config: VitaConfig) -> None:
    media = load_media(Request(question="hi"), config)
    assert (media.modality, media.tiles, media.fbank, media.notes) == ("text", None, None, ())


def test_pictures_and_sound_are_combined(config: VitaConfig) -> None:
    scene, question = ASSETS / "scene.png", ASSETS / "question.wav"
    media = load_media(Request(image_paths=(scene, scene), audio_path=question), config)
    assert media.modality == "image"
    assert media.tiles.shape == (26, 128, 128, 3)
    assert media.tiles.dtype == np.uint8
    assert media.frames == 0
    assert media.notes[0] == media.notes[1] == "image scene.png: 640 × 480 pixels in 4 × 3 tiles"
    assert media.notes[2] == f"audio question.wav: 2.1 s in {config.audio.positions(len(media.fbank))} positions"


def test_a_video_says_how_much_of_it_was_used(config: VitaConfig) -> None:
    media = load_media(Request(question="?", video_path=ASSETS / "moving.mp4", max_frames=3), config)
    assert media.notes == ("video moving.mp4: used 3 of 54 frames, from 0.0 s to 4.0 s",)
    assert (media.modality, media.frames) == ("video", 3)


@pytest.mark.parametrize(("size", "words"), [((1, 1), "smaller than one patch"), ((2000, 10), "squeezed")])
def test_pictures_of_extreme_shape_are_used_with_a_word(
    config: VitaConfig, tmp_path: Path, size: tuple[int, int], words: str
) -> None:
    Image.new("RGB", size).save(tmp_path / "x.png")
    media = load_media(Request(question="?", image_paths=(tmp_path / "x.png",)), config)
    assert words in media.notes[0]


@pytest.mark.parametrize("samples", [100, 400, 1359])
def test_sound_too_short_for_the_encoder_is_refused(config: VitaConfig, tmp_path: Path, samples: int) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(samples), 16000)
    with pytest.raises(MediaError, match=r"too short to hear; give at least 0\.085 s"):
        load_media(Request(audio_path=tmp_path / "x.wav"), config)


def test_the_shortest_sound_that_is_heard(config: VitaConfig, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(1360), 16000)
    assert "in 1 positions" in load_media(Request(audio_path=tmp_path / "x.wav"), config).notes[0]


def test_sound_longer_than_the_encoder_is_refused(config: VitaConfig, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(int(200.1 * 8000)), 8000)
    with pytest.raises(MediaError, match=r"lasts 200\.1 s, over the model's 200 s"):
        load_media(Request(audio_path=tmp_path / "x.wav"), config)
