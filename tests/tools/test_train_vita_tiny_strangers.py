"""Strangers' pictures and clips show what they say, and answers about them are judged by what they name."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.train_vita_tiny import strangers
from tools.train_vita_tiny.judging import is_right
from tools.train_vita_tiny.queries import Noun, Query
from tools.train_vita_tiny.renderers import RENDERERS as TRAINING_RENDERERS
from tools.train_vita_tiny.scenes import Scene, Shape
from tools.train_vita_tiny.strangers import Drawing
from tools.train_vita_tiny.wordings import WORDINGS, strange_wordings, wordings

NEEDS = {"SVG": "resvg_py", "Cairo": "cairocffi", "matplotlib": "matplotlib"}
STAR = Shape("star", "red", 0.31, 0.5, 0.15, 0.0, (255, 0, 0))
RING = Shape("ring", "blue", 0.8, 0.2, 0.08, 0.0, (0, 0, 255))
DRAWING = Drawing(Scene((STAR, RING), "white", (255, 255, 255), 400, 400, 0), ("white", "light grey"))


@pytest.mark.parametrize("renderer", strangers.RENDERERS)
def test_a_strangers_picture_shows_each_shape_where_it_is(renderer: str) -> None:
    assert renderer not in TRAINING_RENDERERS
    if renderer in NEEDS:
        pytest.importorskip(NEEDS[renderer])
    elif renderer == "HTML" and not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("there is no browser")
    elif renderer == "font glyphs" and not Path("/usr/share/fonts/truetype/freefont/FreeSans.ttf").exists():
        pytest.skip("the fonts are not installed")
    (image,) = strangers.RENDERERS[renderer]([DRAWING.scene])
    assert image.size == (400, 400)
    pixels = np.asarray(image, np.float32)
    assert np.abs(pixels[5, 5] - 255).max() < 2
    for shape, channel in ((STAR, 0), (RING, 2)):
        rows, columns = np.nonzero((pixels[..., channel] > 200) & (pixels.sum(2) < 330))
        assert abs((rows.min() + rows.max()) / 2 - 400 * shape.y) < 14
        assert abs((columns.min() + columns.max()) / 2 - 400 * shape.x) < 6
        assert 0.7 < (columns.max() - columns.min()) / (800 * shape.radius) < 1.1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_films_are_read_as_in_use() -> None:
    pytest.importorskip("cairocffi")
    films = strangers.films(np.random.default_rng(2), 4)
    for film in films:
        assert 4 <= len(film.images) <= 5
        first, last = (np.asarray(film.images[i], np.float32) for i in (0, -1))
        assert np.abs(first - last).max() > 40
        (shape,) = film.scene.shapes
        assert shape.kind in " ".join(film.happens)


def test_pictures_that_are_no_scenes_have_no_shape_of_the_six() -> None:
    if not Path("/usr/share/fonts/truetype/freefont/FreeSans.ttf").exists():
        pytest.skip("the fonts are not installed")
    pytest.importorskip("skimage", reason="photographs come with scikit-image")
    rng = np.random.default_rng(1)
    made = [strangers.no_scene(rng) for _ in range(20)]
    assert {kind for kind, _ in made} == {"photograph", "icon", "words"}
    assert all(isinstance(image, Image.Image) and np.ptp(np.asarray(image)) > 80 for _, image in made)


@pytest.mark.parametrize(
    ("query", "answer", "right"),
    [
        (Query("count"), "There are two shapes.", True),
        (Query("count"), "I can see 2: one star.", False),
        (Query("count_noun", noun=Noun(kind="star")), "There is one star.", True),
        (Query("colour_of", noun=Noun(kind="star")), "It is red.", True),
        (Query("colour_of", noun=Noun(kind="star")), "The star is red and blue.", False),
        (Query("colour_of", noun=Noun(kind="cross")), "There is no cross.", True),
        (Query("kind_of", noun=Noun("blue")), "The blue shape is a ring.", True),
        (Query("kind_of", noun=Noun("blue")), "The blue shape is a circle.", False),
        (Query("where", noun=Noun(kind="star")), "The star is at the left.", True),
        (Query("where", noun=Noun(kind="star")), "The star is in the centre.", True),
        (Query("where", noun=Noun(kind="star")), "The star is at the right.", False),
        (Query("where", noun=Noun(kind="ring")), "The ring is at the top right.", True),
        (Query("where", noun=Noun(kind="ring")), "The ring is at the top.", False),
        (Query("is_there", noun=Noun("red", "star")), "Yes, there is a red star at the left.", True),
        (Query("is_there", noun=Noun("red", "ring")), "Yes.", False),
        (Query("bigger", noun=Noun(kind="ring"), other=Noun(kind="star")), "The star is bigger.", True),
        (Query("bigger", noun=Noun(kind="ring"), other=Noun(kind="star")), "The ring is bigger.", False),
        (Query("smallest"), "The blue ring is the smallest.", True),
        (Query("kinds"), "A red star and a blue ring.", True),
        (Query("kinds"), "A red star, a red star and a blue ring.", False),
        (Query("background"), "The background is light grey.", True),
        (Query("background"), "The background is grey.", False),
        (
            Query("describe"),
            "There are two shapes on a cream background. A large red star is at the left. A small blue ring is there.",
            True,
        ),
        (Query("describe"), "There are two shapes. A red star and a green ring.", False),
    ],
)
def test_an_answer_is_judged_by_names_and_numbers(query: Query, answer: str, right: bool) -> None:
    assert is_right(query, DRAWING, answer) == right


def test_what_happens_is_judged_by_all_its_words() -> None:
    film = replace(DRAWING, happens=("red star", "moves", "left"))
    assert is_right(Query("happens"), film, "The red star moves to the left.")
    assert not is_right(Query("happens"), film, "The red star moves to the right.")
    assert not is_right(Query("happens"), film, "The red star grows.")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_strangers_wordings_are_never_trained_on(language: str) -> None:
    for intent in WORDINGS[language]:
        kept = set(strange_wordings(language, intent))
        assert kept
        assert not kept & {*wordings(language, intent), *wordings(language, intent, later=True)}
