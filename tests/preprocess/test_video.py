"""Which frames of a video are seen."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import ASSETS
from vita_demo.errors import MediaError
from vita_demo.preprocess.video import load_frames, sample_positions

CLIP = ASSETS / "moving.mp4"


def red_centre(image: Image.Image) -> float:
    """Horizontal centre of the red circle."""
    pixels = np.asarray(image).astype(int)
    # The ground is white, and the square blue.
    return float(np.nonzero(pixels[..., 0] - pixels[..., 2] > 80)[1].mean())


def test_one_frame_a_second_in_time_order() -> None:
    frames = load_frames(CLIP)
    assert frames.total == 54
    assert frames.times_s == pytest.approx([0, 1, 2, 3, 4])
    centres = [red_centre(image) for image in frames.images]
    assert centres == sorted(centres)
    assert centres[-1] - centres[0] > 50


def test_a_span_is_sampled_alone() -> None:
    whole = load_frames(CLIP, fps=12, max_frames=100)
    part = load_frames(CLIP, fps=12, max_frames=100, start_s=1, end_s=2)
    assert part.total == len(part.images) == 13
    assert np.array_equal(np.asarray(part.images[0]), np.asarray(whole.images[12]))
    with pytest.raises(MediaError, match="--start 9 lies after the end"):
        load_frames(CLIP, start_s=9)


def test_the_rule_of_the_original_demo() -> None:
    assert sample_positions(0, 952, 30.0, 1.0, 16)[:3] == [0, 60, 120]
    assert sample_positions(0, 99, 25.0, 1.0, 16) == [0, 25, 50, 75]
    assert sample_positions(0, 49, 25.0, 1.0, 16) == [0, 0, 0, 25]
    assert sample_positions(0, 99, 25.0, 1.0, 2) == [0, 75]


@given(st.integers(0, 500), st.integers(0, 2000), st.floats(1, 120), st.floats(0.01, 60), st.integers(1, 64))
def test_positions_are_ordered_and_within_bounds(first: int, more: int, rate: float, fps: float, most: int) -> None:
    positions = sample_positions(first, first + more, rate, fps, most)
    assert positions == sorted(positions)
    assert first == positions[0]
    assert positions[-1] <= first + more
    assert min(4, most) <= len(positions) <= most


def test_a_folder_of_pictures_is_a_video_in_name_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    frames = load_frames(tmp_path)
    assert [image.getpixel((0, 0))[0] for image in frames.images] == [1, 2, 10]
    assert len(load_frames(tmp_path, max_frames=2).images) == 2
    assert load_frames(tmp_path, max_frames=2).total == 3


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no pictures"):
        load_frames(tmp_path)


@pytest.mark.parametrize("content", [b"hello" * 100, CLIP.read_bytes()[:3000], (ASSETS / "question.wav").read_bytes()])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.mp4"):
        load_frames(path)
