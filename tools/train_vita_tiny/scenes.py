"""Scenes of one to five plain shapes: what is in them and where, whoever draws them.

Knows names and geometry; knows nothing of pixels, questions, answers or models.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.train_vita_tiny.colours import SHAPE_COLOURS, Rgb, contrast, random_rgb
from tools.train_vita_tiny.geometry import KINDS, REACH
from tools.train_vita_tiny.grounds import random_ground

__all__ = ["COLOURS", "KINDS", "PLACES", "SIZES", "Scene", "Shape"]

COLOURS = tuple(SHAPE_COLOURS)
SIZES = ("small", "medium", "large")
PLACES = (
    "top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
MAX_SHAPES = 5
# A radius of the picture's short side below the first is small, one above the second large.
SIZE_BOUNDS = (0.09, 0.13)
# Two radii that differ by less than this factor are said to be equal; none differ by a factor near it.
SAME_SIZE = 1.12

_LARGEST = {1: 0.4, 2: 0.32, 3: 0.25, 4: 0.2, 5: 0.17}
_SMALLEST = 0.04
# What is less than this share beyond a third is still of the first third: who halves each half speaks of sides.
_THIRD = 0.345
# No two centres are in one cell of either grid: of nine places, and of the sixteen positions of the model's tiles.
_GRIDS = (3, 4)
_GAP = 0.012
_MIN_CONTRAST, _MIN_LINE_CONTRAST = 33.0, 48.0
_STROKE_SHARE, _ALIKE_SHARE, _ORDERED_SHARE, _UPRIGHT_SHARE = 0.12, 0.4, 0.35, 0.5
_KIND_REPEATS, _COLOUR_REPEATS = 0.25, 0.2  # chances in a scene of two or more shapes
_CROWD_REPEATS = 0.6
_ATTEMPTS = 40


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes:
        kind: one of ``KINDS``.
        colour: one of ``COLOURS``.
        x, y: centre, 0 to 1 of width and height.
        radius: of the picture's short side.
        angle_deg: clockwise turn from upright.
        tint: the exact RGB colour.
        form: 0 to 1, which of its kind's usual looks it has.
        stroke: width of the line that it is drawn with, of the radius; 0 when it is filled.
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    angle_deg: float
    tint: Rgb
    form: float = 0.5
    stroke: float = 0.0

    @property
    def place(self) -> str:
        """The one of ``PLACES`` that holds its centre."""
        return place_of(self.x, self.y)

    @property
    def size(self) -> str:
        """One of ``SIZES``."""
        return SIZES[sum(self.radius >= bound for bound in SIZE_BOUNDS)]

    @property
    def reach(self) -> float:
        """How far it may reach from its centre, of the picture's short side."""
        return REACH[self.kind] * self.radius


@dataclass(frozen=True)
class Scene:
    """Shapes in reading order of their places.

    Attributes:
        shapes: at most ``MAX_SHAPES``, no two of one place.
        ground: name of what is behind them.
        tint: its RGB colour.
        width, height: of the picture, in pixels.
        seed: everything else about its looks follows from it.
    """

    shapes: tuple[Shape, ...]
    ground: str
    tint: Rgb
    width: int
    height: int
    seed: int


def place_of(x: float, y: float) -> str:
    """Name the place of a point, 0 to 1 of width and height."""
    column, row = (int(value >= _THIRD) + int(value > 1 - _THIRD) for value in (x, y))
    return PLACES[3 * row + column]


def cell_of(x: float, y: float, grid: int) -> int:
    """Number the cell, of ``grid`` by ``grid``, that holds a point."""
    column, row = (min(grid - 1, max(0, int(grid * value))) for value in (x, y))
    return grid * row + column


def in_order(shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    """Sort shapes in reading order of their places."""
    return tuple(sorted(shapes, key=lambda shape: PLACES.index(shape.place)))


_SIZES_PX = (
    (448, 448), (448, 448), (512, 512), (400, 400), (300, 300), (256, 256), (224, 224), (640, 480), (640, 480),
    (400, 300), (320, 240), (640, 360), (640, 360), (480, 270), (600, 400), (480, 640), (360, 640), (300, 400),
)  # fmt: skip


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw a width and a height in pixels, as pictures have them."""
    chance = rng.random()
    if chance < 0.65:
        width, height = _SIZES_PX[int(rng.integers(len(_SIZES_PX)))]
        return width, height
    if chance < 0.8:
        side = int(rng.integers(112, 169))
        return side, side
    long = int(rng.integers(180, 640))
    short = max(130, int(long * rng.uniform(0.5, 1.0)))
    return (long, short) if rng.random() < 0.7 else (short, long)


def random_scene(rng: np.random.Generator, count: int | None = None, size: tuple[int, int] | None = None) -> Scene:
    """Draw a scene of ``count`` shapes, 1 to 5 when not given, in a picture of ``size`` pixels."""
    count = int(rng.choice(MAX_SHAPES, p=(0.24, 0.25, 0.23, 0.15, 0.13))) + 1 if count is None else count
    return _scene(rng, count, size or random_size(rng), _KIND_REPEATS, _COLOUR_REPEATS)


def random_crowd(rng: np.random.Generator) -> Scene:
    """Draw a scene of two or more shapes, of which mostly several are of one kind or colour."""
    return _scene(rng, int(rng.integers(2, MAX_SHAPES + 1)), random_size(rng), _CROWD_REPEATS, _CROWD_REPEATS)


def _scene(
    rng: np.random.Generator, count: int, size: tuple[int, int], kind_repeats: float, colour_repeats: float
) -> Scene:
    while True:
        ground, tint = random_ground(rng)
        colours = _names(rng, COLOURS, count, colour_repeats)
        lined = rng.random() < _STROKE_SHARE
        tints = random_tints(rng, colours, tint, lined)
        if tints is not None:
            break
    kinds = _names(rng, KINDS, count, kind_repeats)
    if lined:
        kinds = ["ring" if kind == "circle" else kind for kind in kinds]
    stroke = float(rng.uniform(0.07, 0.26)) if lined else 0.0
    radii = random_radii(rng, count, min(size) / max(size))
    while True:
        centres = _random_centres(rng, [r * REACH[kind] for r, kind in zip(radii, kinds, strict=True)], size)
        if centres is not None:
            break
        radii = [max(_SMALLEST, 0.85 * radius) for radius in radii]
    shapes = [
        Shape(
            kind, colour, x, y, radius, random_angle(rng), rgb, float(rng.random()), 0.0 if kind == "ring" else stroke
        )
        for kind, colour, rgb, radius, (x, y) in zip(kinds, colours, tints, radii, centres, strict=True)
    ]
    return Scene(in_order(shapes), ground, tint, *size, int(rng.integers(2**31)))


def random_tints(rng: np.random.Generator, colours: Sequence[str], ground: Rgb, lined: bool) -> list[Rgb] | None:
    """Draw RGB colours that have these names and stand out from the ground; None when there are none."""
    least = _MIN_LINE_CONTRAST if lined else _MIN_CONTRAST
    known: dict[str, Rgb] = {}
    for colour in dict.fromkeys(colours):
        found = next((rgb for _ in range(6) if contrast(rgb := random_tint(rng, colour), ground) >= least), None)
        if found is None:
            return None
        known[colour] = found
    return [known[colour] for colour in colours]


def random_tint(rng: np.random.Generator, colour: str) -> Rgb:
    """Draw an RGB colour that people call ``colour``."""
    return random_rgb(rng, SHAPE_COLOURS[colour])


def random_angle(rng: np.random.Generator) -> float:
    """Draw a turn in degrees: half of the shapes stand upright."""
    if rng.random() < _UPRIGHT_SHARE:
        return 0.0
    return float(rng.uniform(-180, 180)) if rng.random() < 0.7 else float(rng.choice([180.0, 90.0, -90.0, 45.0]))


def random_radii(rng: np.random.Generator, count: int, aspect: float) -> list[float]:
    """Draw radii, log-uniform, of which two are equal or clearly different; ``aspect`` is the short side's of the long.

    What is squeezed into a square tile must still be seen there, so the smallest of wide pictures are larger.
    """
    low, high = _SMALLEST / math.sqrt(aspect), _LARGEST[count]
    first = _log_uniform(rng, low, high)
    if rng.random() < _ALIKE_SHARE:
        return [first * float(rng.uniform(1.0, 1.04)) for _ in range(count)]
    radii = [first]
    while len(radii) < count:
        new = _log_uniform(rng, low, high)
        nearest = min(radii, key=lambda radius: abs(math.log(new / radius)))
        radii.append(nearest if max(new / nearest, nearest / new) < 1.25 else new)
    return radii


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _random_centres(
    rng: np.random.Generator, reaches: Sequence[float], size: tuple[int, int]
) -> list[tuple[float, float]] | None:
    """Find places for shapes of these reaches, free or in order; None when they do not fit."""
    short = min(size)
    scale = (size[0] / short, size[1] / short)
    if rng.random() < _ORDERED_SHARE:
        layouts = _LAYOUTS[len(reaches)]
        centres = [layouts[int(rng.integers(len(layouts)))][i] for i in rng.permutation(len(reaches))]
        shake = 0.02 * float(rng.integers(2))
        centres = [(x + shake * rng.uniform(-1, 1), y + shake * rng.uniform(-1, 1)) for x, y in centres]
        if _fit(centres, reaches, scale):
            return centres
    order = sorted(range(len(reaches)), key=lambda i: -reaches[i])
    placed: dict[int, tuple[float, float]] = {}
    for number in order:
        room = [0.5 - (reaches[number] + _GAP) / side for side in scale]
        if min(room) <= 0:
            return None
        for _ in range(_ATTEMPTS):
            centre = (0.5 + float(rng.uniform(-room[0], room[0])), 0.5 + float(rng.uniform(-room[1], room[1])))
            some = [*placed, number]
            if _fit([*placed.values(), centre], [reaches[i] for i in some], scale):
                placed[number] = centre
                break
        else:
            return None
    return [placed[number] for number in range(len(reaches))]


def _fit(centres: Sequence[tuple[float, float]], reaches: Sequence[float], scale: tuple[float, float]) -> bool:
    """Tell whether shapes are inside the picture, apart from each other, and each alone in its cells."""
    for number, ((x, y), reach) in enumerate(zip(centres, reaches, strict=True)):
        if min(x * scale[0], (1 - x) * scale[0], y * scale[1], (1 - y) * scale[1]) < reach + _GAP / 2:
            return False
        for (other_x, other_y), other in zip(centres[:number], reaches, strict=False):
            # The circles about two shapes may touch; the shapes themselves then hardly do.
            if math.hypot((x - other_x) * scale[0], (y - other_y) * scale[1]) < 0.94 * (reach + other) + _GAP:
                return False
            if place_of(x, y) == place_of(other_x, other_y):
                return False
            if any(cell_of(x, y, grid) == cell_of(other_x, other_y, grid) for grid in _GRIDS[1:]):
                return False
    return True


def _row(*values: float) -> list[tuple[tuple[float, float], ...]]:
    return [tuple((value, 0.5) for value in values), tuple((0.5, value) for value in values)]


_CORNERS = [tuple((x, y) for y in (low, 1 - low) for x in (low, 1 - low)) for low in (0.25, 0.2, 0.3)]
_LAYOUTS: dict[int, list[tuple[tuple[float, float], ...]]] = {
    1: [((0.5, 0.5),)],
    2: [*_row(0.25, 0.75), *_row(0.3, 0.7), *_row(1 / 3, 2 / 3), *_row(0.2, 0.8), ((0.25, 0.25), (0.75, 0.75)),
        ((0.75, 0.25), (0.25, 0.75))],
    3: [*_row(0.2, 0.5, 0.8), *_row(1 / 6, 0.5, 5 / 6), *_row(0.25, 0.5, 0.75),
        ((0.5, 0.25), (0.25, 0.72), (0.75, 0.72)),
        ((0.2, 0.2), (0.5, 0.5), (0.8, 0.8))],
    4: _CORNERS,
    5: [(*corners, (0.5, 0.5)) for corners in _CORNERS],
}  # fmt: skip


def _names(rng: np.random.Generator, names: Sequence[str], count: int, repeats: float) -> list[str]:
    """Draw ``count`` distinct names, or with chance ``repeats`` one of them several times."""
    drawn = [names[int(number)] for number in rng.permutation(len(names))[:count]]
    if count > 1 and rng.random() < repeats:
        copies = int(rng.integers(2, count + 1))
        drawn[:copies] = drawn[:1] * copies
        drawn = [drawn[int(number)] for number in rng.permutation(count)]
    return drawn
