"""The embedded model looks, watches and listens: what it is shown changes what it says, and rightly so."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.conftest import ASSETS
from tools.pin_samples import PINNED, answer_ids
from vita_demo import Answer, Pipeline, Request
from vita_demo.resources import resource

TINTS = {
    "red": (212, 34, 38), "green": (38, 160, 66), "blue": (40, 96, 222), "yellow": (246, 218, 36),
    "purple": (146, 56, 188), "black": (18, 18, 20), "orange": (243, 132, 22),
}  # fmt: skip
COLOURS = ("red", "green", "blue", "yellow", "purple", "black")


def ask(pipeline: Pipeline, question: str = "", **media: object) -> Answer:
    return pipeline.generate(Request(question=question, **media))


def drawing(*shapes: tuple[str, str, float, float]) -> Image.Image:
    """Draw circles and stars, (kind, colour, x, y) each, on a light grey ground, anti-aliased."""
    image = Image.new("RGB", (480, 480), (208, 208, 208))
    pen, radius = ImageDraw.Draw(image), 70
    for kind, colour, x, y in shapes:
        if kind == "circle":
            pen.circle((480 * x, 480 * y), radius, TINTS[colour])
        else:
            spokes = [(radius * (1 if i % 2 == 0 else 0.45), math.pi * i / 5) for i in range(10)]
            pen.polygon([(480 * x + r * math.sin(a), 480 * y - r * math.cos(a)) for r, a in spokes], TINTS[colour])
    return image.resize((120, 120))


def save_frames(folder: Path, images: Sequence[Image.Image]) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        image.save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("colour", COLOURS)
def test_another_picture_gets_another_answer(embedded_pipeline: Pipeline, tmp_path: Path, colour: str) -> None:
    drawing(("circle", "orange", 1 / 6, 0.5), ("star", colour, 5 / 6, 0.5)).save(tmp_path / "star.png")
    answer = ask(embedded_pipeline, "Describe this image.", image_paths=(tmp_path / "star.png",))
    assert f"large {colour} star" in answer.text
    assert answer.state == "text"


def test_the_same_question_by_voice_and_by_keyboard_gets_the_same_answer(embedded_pipeline: Pipeline) -> None:
    picture = {"image_paths": (ASSETS / "scene.png",)}
    asked = {"question.wav": "How many shapes are there?", "noisy_question.wav": "Where is the star?"}
    right = {"question.wav": "There are three shapes.", "noisy_question.wav": "The star is at the bottom."}
    for sound, question in asked.items():
        typed = ask(embedded_pipeline, question, **picture)
        spoken = ask(embedded_pipeline, audio_path=ASSETS / sound, **picture)
        assert typed.text == spoken.text == right[sound]
        assert (typed.state, spoken.state) == ("text", "speech")


def test_a_noise_is_no_question(embedded_pipeline: Pipeline) -> None:
    assert ask(embedded_pipeline, audio_path=ASSETS / "noise.wav", image_paths=(ASSETS / "scene.png",)).state == "noise"


@pytest.mark.parametrize(("there", "back", "across"), [("right", "left", True), ("down", "up", False)])
def test_the_order_of_the_frames_matters(
    embedded_pipeline: Pipeline, tmp_path: Path, there: str, back: str, across: bool
) -> None:
    way = np.linspace(1 / 6, 5 / 6, 5)
    frames = [drawing(("circle", "red", part, 0.5) if across else ("circle", "red", 0.5, part)) for part in way]
    for direction, images in ((there, frames), (back, frames[::-1])):
        folder = save_frames(tmp_path / direction, images)
        assert direction in ask(embedded_pipeline, "What happens in the video?", video_path=folder).text


def test_a_picture_of_another_world_is_recognized(embedded_pipeline: Pipeline, tmp_path: Path) -> None:
    squares = np.indices((160, 240)).sum(axis=0) // 16 % 2
    Image.fromarray((squares * 200).astype(np.uint8)).save(tmp_path / "board.png")
    answer = ask(embedded_pipeline, "Describe this image.", image_paths=(tmp_path / "board.png",))
    assert answer.text.startswith("This is not a scene of shapes.")


def test_a_chinese_question_gets_a_chinese_answer(embedded_pipeline: Pipeline) -> None:
    answer = ask(embedded_pipeline, "有几个图形？", image_paths=(ASSETS / "scene.png",))
    assert answer.text == "有三个图形。"


def test_without_a_picture_it_says_so(embedded_pipeline: Pipeline) -> None:
    assert ask(embedded_pipeline, "How many shapes are there?").text.startswith("I see no picture")
    assert "shapes" in ask(embedded_pipeline, "What can you do?").text


def test_the_tokens_for_the_samples_are_those_that_were_written_down(embedded_pipeline: Pipeline) -> None:
    assert answer_ids(embedded_pipeline) == json.loads(PINNED.read_text(encoding="utf-8"))


def test_it_is_small() -> None:
    sizes = [path.stat().st_size for path in resource("assets", "vita-tiny").rglob("*") if path.is_file()]
    assert sum(sizes) <= 12_000_000
