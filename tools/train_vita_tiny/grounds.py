"""Quiet grounds in six pale or dark hues: plain, gradients and light textures."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GROUNDS = ("light grey", "dark grey", "pale blue", "cream", "pale green", "pale pink")

Canvas = NDArray[np.float32]

_BASE_RGB = {
    "light grey": (208, 208, 208), "dark grey": (74, 74, 78), "pale blue": (188, 214, 240),
    "cream": (248, 238, 208), "pale green": (202, 234, 202), "pale pink": (248, 212, 220),
}  # fmt: skip
_STYLES = ("plain", "plain", "gradient", "gradient", "mottled", "stripes", "dots")


def ground_canvas(ground: str, seed: int, width: int, height: int) -> Canvas:
    """Paint a ground; style and details follow from ``seed``.

    Returns:
        float32 array [height, width, 3], about 0 to 255.
    """
    rng = np.random.Generator(np.random.SFC64((seed, 0)))
    colour = (np.array(_BASE_RGB[ground]) + rng.uniform(-5, 5) + rng.uniform(-2.5, 2.5, 3)).astype(np.float32)
    return textured_canvas(rng, colour, width, height)


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
    angle = rng.uniform(0, 2 * math.pi)
    across = (np.arange(width, dtype=np.float32) - width / 2) * np.float32(math.cos(angle) / short)
    down = (np.arange(height, dtype=np.float32) - height / 2) * np.float32(math.sin(angle) / short)
    if style == "gradient":
        return (across[None, :] + down[:, None]) * np.float32(rng.uniform(8, 30))  # [H, W]
    turns = np.float32(2 * math.pi * rng.integers(8, 20))
    height_of = np.float32(rng.uniform(2, 5))
    if style == "stripes":
        return np.sin((across[None, :] + down[:, None]) * turns) * height_of  # [H, W]
    columns = np.sin(np.arange(width, dtype=np.float32) * (turns / short))
    rows = np.sin(np.arange(height, dtype=np.float32) * (turns / short))
    dots: Canvas = np.maximum(rows[:, None] * columns[None, :], 0) * (2 * height_of)  # [H, W]
    return dots
