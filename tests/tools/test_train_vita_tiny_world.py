"""The synthetic world: scenes, clips and pictures outside it are what they say they are."""

from dataclasses import replace

import numpy as np
import pytest

from tools.train_vita_tiny.clips import ACTIONS, DIRECTIONS, Clip, frames, padded, random_clip, scene_at, write_video
from tools.train_vita_tiny.colours import GROUND_COLOURS, SHAPE_COLOURS, contrast, random_rgb
from tools.train_vita_tiny.geometry import REACH
from tools.train_vita_tiny.grounds import GROUNDS
from tools.train_vita_tiny.outside import FAMILIES, HELD_OUT_FAMILIES, random_outside
from tools.train_vita_tiny.painting import draw
from tools.train_vita_tiny.photographs import HELD_OUT_PHOTOGRAPHS, PHOTOGRAPHS
from tools.train_vita_tiny.renderers import RENDERERS, Figure, has_glyph
from tools.train_vita_tiny.scenes import (
    KINDS,
    PLACES,
    SAME_SIZE,
    Scene,
    Shape,
    cell_of,
    place_of,
    random_crowd,
    random_scene,
)
from tools.train_vita_tiny.words import CHINESE
from vita_demo.preprocess.image import fit_frame
from vita_demo.preprocess.video import load_frames

GENERATED = [family for family in dict.fromkeys((*FAMILIES, *HELD_OUT_FAMILIES)) if "photograph" not in family]


def scenes(number: int) -> list[Scene]:
    rng = np.random.default_rng(5)
    return [random_scene(rng) for _ in range(number)]


def pixels_of(scene: Scene) -> np.ndarray:
    return np.asarray(draw(scene), np.float32)


def test_the_same_seed_draws_the_same_pixels_and_another_seed_others() -> None:
    first, again = scenes(12), scenes(12)
    assert first == again
    assert all(np.array_equal(pixels_of(one), pixels_of(other)) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(pixels_of(first[0]), pixels_of(replace(first[0], seed=first[0].seed + 1)))


def test_a_shape_shows_its_tint_where_it_says_it_is() -> None:
    """Filled circles and squares have their colour in the middle, whoever draws them and whatever cameras do."""
    errors = []
    for scene in scenes(150):
        picture = pixels_of(scene)
        for shape in scene.shapes:
            if shape.kind in ("circle", "square") and not shape.stroke:
                row, column = int(shape.y * scene.height), int(shape.x * scene.width)
                seen = picture[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))
                errors.append(np.abs(seen - shape.tint).max())
    assert len(errors) > 60
    assert np.mean(np.array(errors) < 40) > 0.95


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_renderer_draws_the_kinds_as_large_and_where_they_are(renderer: str, kind: str) -> None:
    shares = {"circle": (0.95, 1.05), "square": (0.75, 1.32), "triangle": (0.35, 0.9), "star": (0.25, 0.55),
              "cross": (0.35, 0.9), "ring": (0.1, 0.85)}[kind]  # fmt: skip
    for form in (0.1, 0.5, 0.9):
        cover = RENDERERS[renderer](Figure(kind, form, 0.0, 60.5, 50.5, 30.0), 120, 100)
        assert cover.shape == (100, 120)
        rows, columns = np.nonzero(cover > 0.5)
        assert abs((rows.min() + rows.max()) / 2 - 50) <= 5
        assert abs((columns.min() + columns.max()) / 2 - 60) <= 5
        if renderer != "glyph":
            assert shares[0] < cover.sum() / (np.pi * 900) < shares[1]
            assert np.hypot(rows - 50, columns - 60).max() < 1.1 * 30 * REACH[kind] + 1
        assert (cover[48:53, 58:63].max() < 0.1) == (kind == "ring")


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_line_is_hollow_and_turned_shapes_are_others(renderer: str) -> None:
    upright = Figure("square", 0.5, 0.0, 50.0, 50.0, 30.0)
    lined, turned = replace(upright, stroke=4.0), replace(upright, angle_deg=45.0)
    whole, line, diamond = (RENDERERS[renderer](figure, 100, 100) for figure in (upright, lined, turned))
    assert has_glyph(lined)
    assert line[45:55, 45:55].max() == 0
    assert 0.05 < line.sum() / whole.sum() < 0.5
    assert diamond[28, 28] < 0.2 < 0.9 < whole[28, 28]


def test_things_in_crowds_are_alike_more_often() -> None:
    rng = np.random.default_rng(6)
    crowds = [random_crowd(rng) for _ in range(300)]
    assert {len(crowd.shapes) for crowd in crowds} == {2, 3, 4, 5}
    for part in ("kind", "colour"):
        repeated = [
            np.mean([len({getattr(shape, part) for shape in one.shapes}) < len(one.shapes) for one in some])
            for some in (crowds, [scene for scene in scenes(300) if len(scene.shapes) > 1])
        ]
        assert 0.5 < repeated[0] < 0.75
        assert repeated[1] < 0.4


def test_shapes_are_inside_apart_and_each_alone_in_its_place() -> None:
    for scene in scenes(300):
        places = [PLACES.index(shape.place) for shape in scene.shapes]
        assert places == sorted(set(places))
        assert len({cell_of(shape.x, shape.y, 4) for shape in scene.shapes}) == len(scene.shapes)
        short = min(scene.width, scene.height)
        for shape in scene.shapes:
            room = min(shape.x, 1 - shape.x) * scene.width, min(shape.y, 1 - shape.y) * scene.height
            assert min(room) >= shape.reach * short
            for other in scene.shapes:
                way = np.hypot((shape.x - other.x) * scene.width, (shape.y - other.y) * scene.height)
                assert shape is other or way > 0.93 * short * (shape.reach + other.reach)


def test_shapes_are_anywhere_of_any_size_and_turn() -> None:
    shapes = [shape for scene in scenes(600) for shape in scene.shapes]
    for values in ([shape.x for shape in shapes], [shape.y for shape in shapes]):
        assert np.histogram(values, 10, (0.1, 0.9))[0].min() > 0.04 * len(shapes)
    radii = np.array([shape.radius for shape in shapes])
    assert (radii.min() < 0.045, radii.max() > 0.33) == (True, True)
    assert all(np.mean((radii > low) & (radii < 1.6 * low)) > 0.1 for low in (0.045, 0.07, 0.11, 0.15))
    turns = np.array([shape.angle_deg for shape in shapes])
    assert 0.4 < np.mean(turns == 0) < 0.65
    assert np.histogram(turns[turns != 0], 8, (-180, 181))[0].min() > 10
    assert 0.05 < np.mean([shape.stroke > 0 for shape in shapes]) < 0.2
    assert not any(shape.stroke for shape in shapes if shape.kind in ("circle", "ring"))


def test_radii_are_equal_or_clearly_different() -> None:
    for scene in scenes(300):
        for one in scene.shapes:
            for other in scene.shapes:
                ratio = max(one.radius, other.radius) / min(one.radius, other.radius)
                assert ratio < 1.06 or ratio > 1.15, ratio
                assert not 1.06 < ratio < SAME_SIZE


def test_a_shape_stands_out_from_its_ground_and_both_have_their_names_colours() -> None:
    grounds = set()
    for scene in scenes(400):
        grounds.add(scene.ground)
        assert all(contrast(shape.tint, scene.tint) >= 33 for shape in scene.shapes)
    assert grounds == set(GROUNDS)
    assert all(name in CHINESE for name in (*GROUNDS, *SHAPE_COLOURS))


@pytest.mark.parametrize("name", [*SHAPE_COLOURS, *GROUND_COLOURS])
def test_a_colour_is_within_what_it_is_called(name: str) -> None:
    rng = np.random.default_rng(1)
    boxes = SHAPE_COLOURS.get(name) or GROUND_COLOURS[name]
    for red, green, blue in (random_rgb(rng, boxes) for _ in range(100)):
        level, spread = max(red, green, blue), max(red, green, blue) - min(red, green, blue)
        word = name.rsplit(maxsplit=1)[-1]
        if word in ("white", "black", "grey"):
            assert spread < 25
            assert {"white": level > 240, "black": level < 35, "grey": 40 < level < 248}[word]
        strongest = {"red": red, "pink": red, "orange": red, "brown": red, "green": green, "blue": blue}.get(word)
        assert strongest in (None, level)


@pytest.mark.parametrize(
    ("x", "y", "place"),
    [(0.1, 0.1, "top left"), (1 / 3, 0.5, "left"), (0.36, 0.5, "centre"), (2 / 3, 0.5, "right"), (0.5, 0.9, "bottom")],
)
def test_places_are_named_by_rule(x: float, y: float, place: str) -> None:
    assert place_of(x, y) == place


@pytest.mark.parametrize("action", ACTIONS)
def test_the_frames_that_are_looked_at_show_what_happens(action: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        clip = random_clip(rng, action)
        assert 4 <= len(clip.times) <= 12
        assert clip.times[0] == 0 <= clip.times[-1] < 1
        pictures = frames(clip)
        assert np.array_equal(np.asarray(pictures[0]), np.asarray(draw(clip.start, frame=0)))
        assert np.array_equal(np.asarray(pictures[-1]), np.asarray(draw(clip.end, frame=len(pictures) - 1)))
        check_event(clip)


def check_event(clip: Clip) -> None:
    """What happens is seen between the first frame and the last that is looked at."""
    action, first, last = clip.event.action, clip.start.shapes, clip.end.shapes
    if action in ("appears", "disappears"):
        assert len(last) - len(first) == (1 if action == "appears" else -1)
        return
    (before,) = [shape for shape in first if shape not in last]
    (after,) = [shape for shape in last if shape not in first]
    growth = after.radius / before.radius
    assert (growth > 1.29, growth < 1 / 1.29) == (action == "grows", action == "shrinks")
    assert (after.colour != before.colour) == (action == "changes colour") == (clip.event.colour == after.colour)
    way = np.array([after.x - before.x, after.y - before.y])
    if action == "moves":
        direction = np.array(DIRECTIONS[clip.event.direction or ""])
        assert way @ direction > 0.219
        assert np.abs(way - (way @ direction) * direction).max() < 0.16 * (way @ direction)
    else:
        assert np.abs(way).max() < 1e-9


def test_a_moving_shape_meets_no_other_and_is_mostly_still_moving_at_the_end() -> None:
    rng = np.random.default_rng(4)
    clips = [random_clip(rng, "moves") for _ in range(60)]
    for clip in clips:
        short = min(clip.start.width, clip.start.height)
        for time in np.linspace(0, 1, 9):
            shapes = scene_at(clip, float(time)).shapes
            for one, other in ((a, b) for a in shapes for b in shapes if a is not b):
                way = np.hypot((one.x - other.x) * clip.start.width, (one.y - other.y) * clip.start.height)
                assert way > 0.9 * short * (one.reach + other.reach)
    assert np.mean([clip.ends > clip.times[-1] for clip in clips]) > 0.5
    lanes = [shape.y for clip in clips for shape in (clip.before,) if clip.event.direction in ("left", "right")]
    assert np.histogram(lanes, 4, (0.15, 0.85))[0].min() > 0


def test_a_padded_scene_is_where_the_padded_frame_shows_it() -> None:
    shape = Shape("circle", "red", 0.25, 0.3, 0.2, 0.0, (255, 0, 0))
    scene = next(one for one in scenes(99) if one.seed % 2)
    wide = replace(scene, shapes=(shape,), tint=(255, 255, 255), width=320, height=180)
    frame = fit_frame(draw(wide), 128, (123, 116, 103)).astype(np.float32)
    (moved,) = padded(wide).shapes
    rows, columns = np.nonzero(frame[..., 0] - frame[..., 1] > 100)
    assert moved.x * 128 == pytest.approx((columns.min() + columns.max() + 1) / 2, abs=1.5)
    assert moved.y * 128 == pytest.approx((rows.min() + rows.max() + 1) / 2, abs=1.5)
    assert moved.radius * 128 == pytest.approx((rows.max() - rows.min() + 1) / 2, abs=2)
    assert np.abs(frame[5] - (123, 116, 103)).max() < 2


@pytest.mark.parametrize("action", ["moves", "appears"])
def test_a_video_is_small_and_read_as_the_frames_that_are_looked_at(action, tmp_path) -> None:
    pytest.importorskip("av")
    clip = replace(random_clip(np.random.default_rng(2), action), seconds=4.0)
    write_video(clip, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").stat().st_size <= 200_000
    seen = load_frames(tmp_path / "clip.mp4").images
    assert len(seen) == len(clip.times) == 4
    for frame, picture in zip(seen, frames(clip), strict=True):
        assert np.abs(np.asarray(frame, np.float32) - np.asarray(picture, np.float32)).mean() < 12


@pytest.mark.parametrize("family", GENERATED)
def test_pictures_outside_follow_from_their_seed(family: str) -> None:
    first, again, other = (random_outside(np.random.default_rng(seed), 56, (family,)) for seed in (1, 1, 2))
    assert (first.mode, first.size) == ("RGB", (56, 56))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_held_out_pictures_are_never_trained_on() -> None:
    assert not set(FAMILIES) & set(HELD_OUT_FAMILIES)
    assert not set(PHOTOGRAPHS) & set(HELD_OUT_PHOTOGRAPHS)


def test_photographs_are_squares_of_the_size_asked_for() -> None:
    pytest.importorskip("skimage", reason="photographs come with scikit-image")
    for family in ("photograph", "held-out photograph"):
        picture = random_outside(np.random.default_rng(1), 64, (family,))
        assert (picture.mode, picture.size) == ("RGB", (64, 64))
