"""The synthetic world: scenes, clips and pictures outside it are what they say they are."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tools.train_vita_tiny.clips import ACTIONS, DIRECTIONS, Clip, frames, random_clip, scene_at, write_video
from tools.train_vita_tiny.outside import FAMILIES, HELD_OUT_FAMILIES, random_outside
from tools.train_vita_tiny.photographs import HELD_OUT_PHOTOGRAPHS, PHOTOGRAPHS
from tools.train_vita_tiny.scenes import KINDS, PLACES, SIZES, Scene, Shape, centre_of, draw, random_crowd, random_scene
from vita_demo.preprocess.video import load_frames

GENERATED = [family for family in (*FAMILIES, *HELD_OUT_FAMILIES) if "photograph" not in family]


def scenes(number: int) -> list[Scene]:
    rng = np.random.default_rng(5)
    return [random_scene(rng) for _ in range(number)]


def pixels_of(scene: Scene, width: int = 112, height: int = 112) -> np.ndarray:
    return np.asarray(draw(scene, width, height), np.float32)


def inked(scene: Scene) -> np.ndarray:
    """Which pixels [H, W] a scene's shapes change."""
    return np.abs(pixels_of(scene) - pixels_of(replace(scene, shapes=()))).max(axis=2) > 40


def solid_pixel(shape: Shape, width: int, height: int) -> tuple[int, int]:
    """A pixel (row, column) deep inside the shape: its centre, for a ring the middle of its band."""
    offset = 0.775 * shape.radius * min(width, height) if shape.kind == "ring" else 0.0
    return int(shape.y * height), int(shape.x * width + offset)


def test_the_same_seed_draws_the_same_pixels_and_another_seed_others() -> None:
    first, again = scenes(20), scenes(20)
    assert first == again
    assert all(np.array_equal(pixels_of(one), pixels_of(other)) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(pixels_of(first[0]), pixels_of(replace(first[0], seed=first[0].seed + 1)))


@pytest.mark.parametrize("size", [(112, 112), (320, 200)])
def test_a_shape_shows_its_tint_where_it_says_it_is(size: tuple[int, int]) -> None:
    for scene in scenes(60):
        picture = pixels_of(scene, *size)
        for shape in scene.shapes:
            row, column = solid_pixel(shape, *size)
            seen = picture[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))
            assert np.abs(seen - shape.tint).max() < 30, (shape, seen)


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


def test_shapes_stay_inside_the_picture_and_apart() -> None:
    for scene in scenes(300):
        assert [PLACES.index(shape.place) for shape in scene.shapes] == sorted(
            {PLACES.index(shape.place) for shape in scene.shapes}
        )
        for shape in scene.shapes:
            x, y = centre_of(shape.place)
            assert max(abs(shape.x - x), abs(shape.y - y)) + shape.radius < 1 / 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_fills_its_own_share_of_its_box_and_none_reaches_out_of_its_cell(kind: str) -> None:
    angle = {"circle": 0.0, "ring": 0.0, "star": 15.0, "cross": 8.0}.get(kind, 10.0)
    shape = Shape(kind, "black", "large", "centre", 0.5, 0.5, 0.159, angle, (18, 18, 20))
    mask = inked(Scene((shape,), "light grey", 7))
    share = mask.sum() / (math.pi * (0.159 * 112) ** 2)
    expected = {"circle": 1.0, "square": 0.94, "triangle": 0.48, "star": 0.42, "cross": 0.62, "ring": 0.68}
    assert share == pytest.approx(expected[kind], abs=0.07)
    rows, columns = np.nonzero(mask)
    assert min(rows.min(), columns.min()) >= 37
    assert max(rows.max(), columns.max()) <= 74
    assert max(abs(rows.min() + rows.max() - 111), abs(columns.min() + columns.max() - 111)) <= 5


def test_white_is_drawn_on_dark_ground_only() -> None:
    grounds = {scene.ground for scene in scenes(400) if any(shape.colour == "white" for shape in scene.shapes)}
    assert grounds == {"dark grey"}


def plain(scene: Scene) -> Scene:
    return replace(scene, shapes=tuple(sorted(scene.shapes, key=lambda shape: PLACES.index(shape.place))))


@pytest.mark.parametrize("action", ACTIONS)
def test_first_and_last_frames_show_start_and_end(action: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        clip = random_clip(rng, action)
        pictures = frames(clip, 5)
        assert np.array_equal(np.asarray(pictures[0]), np.asarray(draw(clip.start, frame=0)))
        assert np.array_equal(np.asarray(pictures[-1]), np.asarray(draw(clip.end, frame=4)))
        changed = [shape for shape in clip.end.shapes if shape not in clip.start.shapes]
        assert changed == ([] if clip.after is None else [clip.after])
        assert clip.end == plain(clip.end)
        assert (clip.end if action == "appears" else clip.start).shapes[clip.event.shape] in (clip.before, clip.after)


def test_the_event_says_what_changed() -> None:
    rng = np.random.default_rng(8)
    for _ in range(200):
        check_event(random_clip(rng))


def check_event(clip: Clip) -> None:
    before, after, action = clip.before, clip.after, clip.event.action
    if before is None or after is None:
        assert action == ("appears" if before is None else "disappears")
        return
    assert (before.size != after.size) == (action in {"grows", "shrinks"})
    assert (SIZES.index(after.size) > SIZES.index(before.size)) == (action == "grows")
    assert (after.colour != before.colour) == (action == "changes colour") == (clip.event.colour == after.colour)
    assert (after.place != before.place) == (action == "moves")
    if action == "moves":
        down, right = DIRECTIONS[clip.event.direction or ""]
        assert np.array_equal(np.sign(np.round([after.y - before.y, after.x - before.x], 6)), [down, right])


def test_a_moving_shape_meets_no_other() -> None:
    rng = np.random.default_rng(4)
    for clip in (random_clip(rng, "moves") for _ in range(40)):
        for time in np.linspace(0, 1, 9):
            shapes = scene_at(clip, float(time)).shapes
            for one, other in ((a, b) for a in shapes for b in shapes if a is not b):
                assert max(abs(one.x - other.x), abs(one.y - other.y)) > one.radius + other.radius


def test_frames_between_go_one_way() -> None:
    clip = random_clip(np.random.default_rng(1), "moves")
    places = [
        next(
            (s.x, s.y)
            for s in scene_at(clip, time / 8).shapes
            if s.kind == clip.before.kind and s.tint == clip.before.tint
        )
        for time in range(9)
    ]
    down, right = DIRECTIONS[clip.event.direction or ""]
    assert all((x2 - x1) * right + (y2 - y1) * down >= 0 for (x1, y1), (x2, y2) in pairwise(places))


@pytest.mark.parametrize("action", ["moves", "appears"])
def test_a_video_is_small_and_its_sampled_frames_show_start_and_end(action, tmp_path) -> None:
    pytest.importorskip("av")
    clip = random_clip(np.random.default_rng(2), action)
    write_video(clip, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").stat().st_size <= 200_000
    seen = load_frames(tmp_path / "clip.mp4").images
    assert len(seen) == 5
    wanted = [np.asarray(draw(scene, 256, 256), np.float32) for scene in (clip.start, clip.end)]
    errors = [
        [np.abs(np.asarray(frame, np.float32) - picture).mean() for picture in wanted] for frame in (seen[0], seen[-1])
    ]
    assert errors[0][0] < errors[0][1]
    assert errors[1][1] < errors[1][0]
    assert max(errors[0][0], errors[1][1]) < 12


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
