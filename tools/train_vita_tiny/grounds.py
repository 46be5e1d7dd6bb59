"""Grounds of any colour: plain, graded and textured."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.train_vita_tiny.colours import GROUND_COLOURS, Rgb, random_rgb

GROUNDS = tuple(GROUND_COLOURS)

Canvas = NDArray[np.float32]

_WHITE_SHARE, _GREY_SHARE, _BLACK_SHARE = 0.24, 0.24, 0.08
_STYLES = ("plain",) * 9 + ("gradient", "gradient", "mottled", "stripes", "dots", "paper")


def random_ground(rng: np.random.Generator) -> tuple[str, Rgb]:
    """Draw a ground's name and colour: white and greys more often than hues, as people choose them."""
    chance = rng.random()
    if chance < _WHITE_SHARE:
        name = "white"
    elif chance < _WHITE_SHARE + _GREY_SHARE:
        name = ("light grey", "light grey", "grey", "dark grey")[int(rng.integers(4))]
    elif chance < _WHITE_SHARE + _GREY_SHARE + _BLACK_SHARE:
        name = "black"
    else:
        name = GROUNDS[int(rng.integers(5, len(GROUNDS)))]
    if name == "white" and rng.random() < 0.6:
        return name, (255, 255, 255)
    if name == "black" and rng.random() < 0.5:
        return name, (0, 0, 0)
    return name, random_rgb(rng, GROUND_COLOURS[name])


def ground_canvas(colour: Rgb, seed: int, width: int, height: int) -> Canvas:
    """Paint a ground of one colour; style and details follow from ``seed``.

    Returns:
        float32 array [height, width, 3], about 0 to 255.
    """
    rng = np.random.Generator(np.random.SFC64((seed, 0)))
    return textured_canvas(rng, np.array(colour, np.float32), width, height)


def textured_canvas(rng: np.random.Generator, colour: Canvas, width: int, height: int) -> Canvas:
    """Paint a ground about one RGB colour [3] in a random style, as ``ground_canvas`` does."""
    relief = _relief(rng, _STYLES[int(rng.integers(len(_STYLES)))], width, height)
    if relief is None:
        return np.full((height, width, 3), colour, np.float32)
    span = (rng.uniform(0.6, 1) + rng.uniform(-0.15, 0.15, 3)).astype(np.float32)
    return colour + relief[:, :, None] * span  # [H, W, 3]


def _relief(rng: np.random.Generator, style: str, width: int, height: int) -> Canvas | None:
    """Lighter and darker parts of the ground, [H, W] in levels of 255; lengths are fractions of the short side."""
    if style == "plain":
        return None
    short = min(width, height)
    if style == "mottled":
        cells = int(rng.integers(4, 9))
        coarse = rng.uniform(-9, 9, (cells, cells)).astype(np.float32)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    if style == "paper":
        grain = rng.standard_normal((max(2, height // 2), max(2, width // 2)), np.float32) * np.float32(
            rng.uniform(2, 7)
        )
        return np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.BILINEAR))
    angle = rng.uniform(0, 2 * math.pi)
    across = (np.arange(width, dtype=np.float32) - width / 2) * np.float32(math.cos(angle) / short)
    down = (np.arange(height, dtype=np.float32) - height / 2) * np.float32(math.sin(angle) / short)
    if style == "gradient":
        return (across[None, :] + down[:, None]) * np.float32(rng.uniform(8, 40))  # [H, W]
    turns = np.float32(2 * math.pi * rng.integers(8, 20))
    height_of = np.float32(rng.uniform(2, 5))
    if style == "stripes":
        return np.sin((across[None, :] + down[:, None]) * turns) * height_of  # [H, W]
    columns = np.sin(np.arange(width, dtype=np.float32) * (turns / short))
    rows = np.sin(np.arange(height, dtype=np.float32) * (turns / short))
    dots: Canvas = np.maximum(rows[:, None] * columns[None, :], 0) * (2 * height_of)  # [H, W]
    return dots
