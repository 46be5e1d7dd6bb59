"""Pictures of every kind become upright RGB, and tiles that hold all of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vita_demo.errors import MediaError
from vita_demo.preprocess.image import choose_grid, fit_frame, load_image, tile_image

RED = (255, 0, 0)


def saved(tmp_path: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def colour(path: Path) -> tuple[int, ...]:
    image = load_image(path)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


def test_exif_orientation_is_respected(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.new("RGB", (30, 10)), "x.jpg", exif=exif)
    assert load_image(path).size == (10, 30)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    assert colour(saved(tmp_path, Image.new("RGBA", (4, 4), (255, 0, 0, 0)))) == (255, 255, 255)
    assert colour(saved(tmp_path, Image.new("LA", (4, 4), (0, 255)))) == (0, 0, 0)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 255, 0, *RED])
    assert colour(saved(tmp_path, palette)) == RED
    assert colour(saved(tmp_path, palette, transparency=1)) == (255, 255, 255)


def test_deep_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16))
    assert colour(saved(tmp_path, grey)) == (128, 128, 128)
    assert colour(saved(tmp_path, Image.new("F", (4, 4), 0.5), "x.tiff")) == (127, 127, 127)
    assert colour(saved(tmp_path, Image.new("L", (4, 4), 7))) == (7, 7, 7)
    assert colour(saved(tmp_path, Image.new("1", (4, 4), 1))) == (255, 255, 255)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    red, green, blue = colour(saved(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "x.jpg", quality=100))
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.png"):
        load_image(path)


def test_a_truncated_picture_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.effect_noise((200, 200), 50))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(MediaError, match="damaged"):
        load_image(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("1", (20_000, 10_000)))
    with pytest.raises(MediaError, match="megapixels"):
        load_image(path)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((448, 448), (1, 1)), ((1280, 720), (4, 2)), ((300, 900), (1, 3)), ((97, 61), (3, 2)), ((20_000, 100), (12, 1)),
     ((1, 1), (1, 1)), ((800, 800), (2, 2)), ((5000, 5000), (3, 3))],
)  # fmt: skip
def test_grids_follow_the_shape_and_grow_with_the_size(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert choose_grid(*size, 448) == grid


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 12))
def test_tiles_put_together_are_the_resized_picture(width: int, height: int, max_tiles: int) -> None:
    rng = np.random.default_rng(width * height)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    columns, rows = choose_grid(width, height, 28, max_tiles)
    tiles = tile_image(image, 28, (columns, rows))
    assert columns * rows <= max_tiles
    assert len(tiles) == columns * rows + (columns * rows > 1)
    lines = [np.concatenate(list(tiles[row * columns : (row + 1) * columns]), axis=1) for row in range(rows)]
    whole = np.asarray(image.resize((columns * 28, rows * 28)))
    assert np.array_equal(np.concatenate(lines), whole)
    assert np.array_equal(tiles[-1], np.asarray(image.resize((28, 28))))


def test_frames_are_padded_or_cropped_to_a_square() -> None:
    wide = Image.new("RGB", (64, 32), RED)
    padded = fit_frame(wide, 32, (1, 2, 3))
    assert padded.shape == (32, 32, 3)
    assert tuple(padded[0, 0]) == (1, 2, 3)
    assert tuple(padded[16, 16]) == RED
    assert (fit_frame(wide, 32, None) == RED).all()
