"""Pictures to tiles, by InternVL's dynamic tiling.

Knows Pillow and pixel sizes; knows nothing of patches, features or prompts.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vita_demo.preprocess.picture_file import open_picture

MAX_TILES = 12
_WHITE = (255, 255, 255)

Tiles = NDArray[np.uint8]


def load_image(path: Path) -> Image.Image:
    """Read a picture as upright RGB.

    The orientation in EXIF or XMP is applied, transparency is composited on white, and 16-bit and floating-point
    greyscale are scaled to 8 bit.

    Raises:
        MediaError: when the file is no picture (``UnknownFormatError``), is damaged, or would take too much memory.
    """
    return open_picture(path, _to_rgb)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _shallow(image)
    elif image.mode == "F":
        grey = np.nan_to_num(np.asarray(image))
        scale = 255.0 if grey.max() <= 1.0 else 1.0
        image = Image.fromarray((grey * scale).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (*_WHITE, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


def _shallow(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bit, with the alpha channel of its transparent value."""
    deep = np.asarray(image).astype(np.int64)  # [H, W]
    grey = Image.fromarray((deep // 257).clip(0, 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(deep == transparent, 0, 255).astype(np.uint8)))
    return grey


def choose_grid(width: int, height: int, tile_size: int, max_tiles: int = MAX_TILES) -> tuple[int, int]:
    """Return (columns, rows) of the tile grid whose aspect ratio is closest to the picture's.

    Grids are tried by ascending tile count.  Of two equally close ones the later wins if the picture has more than
    half of its pixels (InternVL's ``find_closest_aspect_ratio``).
    """
    grids = [(i, j) for i in range(1, max_tiles + 1) for j in range(1, max_tiles + 1) if i * j <= max_tiles]
    grids.sort(key=lambda grid: grid[0] * grid[1])
    best, best_difference = (1, 1), float("inf")
    for columns, rows in grids:
        difference = abs(width / height - columns / rows)
        large_enough = width * height > 0.5 * tile_size**2 * columns * rows
        if difference < best_difference or (difference == best_difference and large_enough):
            best, best_difference = (columns, rows), difference
    return best


def tile_image(image: Image.Image, tile_size: int, grid: tuple[int, int]) -> Tiles:
    """Cut an RGB picture into square tiles, row by row; with more than one, a thumbnail comes last.

    Args:
        image: the picture.
        tile_size: side of a tile in pixels.
        grid: (columns, rows); see ``choose_grid``.

    Returns:
        uint8 array [N, tile_size, tile_size, 3], with N = 1, or columns × rows + 1.
    """
    columns, rows = grid
    whole = np.asarray(image.resize((columns * tile_size, rows * tile_size)))  # [rows·S, columns·S, 3]
    cells = whole.reshape(rows, tile_size, columns, tile_size, 3)  # [rows, S, columns, S, 3]
    tiles = cells.swapaxes(1, 2).reshape(-1, tile_size, tile_size, 3)  # [rows·columns, S, S, 3]
    if len(tiles) == 1:
        return tiles
    thumbnail = np.asarray(image.resize((tile_size, tile_size)))  # [S, S, 3]
    return np.concatenate([tiles, thumbnail[None]])  # [N, S, S, 3]


def fit_frame(image: Image.Image, tile_size: int, pad_colour: tuple[int, int, int] | None) -> Tiles:
    """Make a square tile of a video frame: padded to a square, or its short side resized and the centre cropped.

    Args:
        image: the RGB frame.
        tile_size: side of the tile in pixels.
        pad_colour: RGB colour of the padding; None crops.

    Returns:
        uint8 array [tile_size, tile_size, 3].
    """
    width, height = image.size
    if pad_colour is not None:
        side = max(width, height)
        square = Image.new("RGB", (side, side), pad_colour)
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        return np.asarray(square.resize((tile_size, tile_size), Image.Resampling.BICUBIC))
    short = min(width, height)
    width, height = int(tile_size * width / short), int(tile_size * height / short)
    left, top = (width - tile_size) // 2, (height - tile_size) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + tile_size, top + tile_size)))
