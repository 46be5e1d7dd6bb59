"""Scenes of one to five plain shapes on a quiet ground: what is in them, and how they are drawn.

Knows names, geometry and pixels; knows nothing of questions, answers or models.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tools.train_vita_tiny.grounds import GROUNDS, Canvas, ground_canvas

KINDS = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
SIZES = ("small", "medium", "large")
PLACES = (
    "top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
RADII = {"small": 0.075, "medium": 0.11, "large": 0.15}  # of the picture's short side
MAX_SHAPES = 5

_BASE_RGB = {
    "red": (212, 34, 38), "orange": (243, 132, 22), "yellow": (246, 218, 36), "green": (38, 160, 66),
    "blue": (40, 96, 222), "purple": (146, 56, 188), "black": (18, 18, 20), "white": (249, 249, 249),
}  # fmt: skip
_TINT_JITTER = 11
_EXCLUDED = {ground: {"white"} for ground in GROUNDS} | {"dark grey": {"black"}, "cream": {"white", "yellow"}}
_WHITE_SHARE = 0.25  # white is seen on dark grey only, so it is drawn there more often than its turn
_DARK_SHARE = 0.3
_MAX_ANGLE_DEG = {"circle": 0.0, "ring": 0.0, "square": 10.0, "triangle": 10.0, "star": 15.0, "cross": 8.0}
_CENTRE_JITTER = 0.03
_CELL_HALF = 1 / 6
_EXTENT = 1.02  # no kind reaches farther from its centre than this many radii, whichever way it is turned
_GAP = 0.003
_KIND_REPEATS, _COLOUR_REPEATS = 0.25, 0.2  # chances in a scene of two or more shapes
_CROWD_REPEATS = 0.6


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes:
        kind: one of ``KINDS``.
        colour: one of ``COLOURS``.
        size: one of ``SIZES``.
        place: one of ``PLACES``, the cell of the 3 × 3 grid that holds it.
        x: centre, 0 to 1 of the width.
        y: centre, 0 to 1 of the height.
        radius: of the picture's short side.
        angle_deg: clockwise turn from upright.
        tint: the exact RGB colour.
    """

    kind: str
    colour: str
    size: str
    place: str
    x: float
    y: float
    radius: float
    angle_deg: float
    tint: tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """Shapes in reading order of their places, on a ground of the hue ``ground`` whose look follows from ``seed``."""

    shapes: tuple[Shape, ...]
    ground: str
    seed: int


def random_scene(rng: np.random.Generator, count: int | None = None) -> Scene:
    """Draw a scene of ``count`` shapes (1 to 5, uniform when not given) in distinct places."""
    count = int(rng.integers(1, MAX_SHAPES + 1)) if count is None else count
    return _scene(rng, count, _KIND_REPEATS, _COLOUR_REPEATS)


def random_crowd(rng: np.random.Generator) -> Scene:
    """Draw a scene of two or more shapes, of which mostly several are of one kind or colour."""
    return _scene(rng, int(rng.integers(2, MAX_SHAPES + 1)), _CROWD_REPEATS, _CROWD_REPEATS)


def _scene(rng: np.random.Generator, count: int, kind_repeats: float, colour_repeats: float) -> Scene:
    ground = random_ground(rng)
    kinds = _names(rng, KINDS, count, kind_repeats)
    colours = random_colours(rng, ground, count, colour_repeats)
    places = sorted(int(cell) for cell in rng.permutation(len(PLACES))[:count])
    shapes = tuple(
        random_shape(rng, kind, colour, PLACES[cell]) for kind, colour, cell in zip(kinds, colours, places, strict=True)
    )
    return Scene(shapes, ground, int(rng.integers(2**31)))


def random_ground(rng: np.random.Generator) -> str:
    """Draw a ground's name; dark grey, the only one that shows white, comes more often than the others."""
    if rng.random() < _DARK_SHARE:
        return "dark grey"
    others = [ground for ground in GROUNDS if ground != "dark grey"]
    return others[int(rng.integers(len(others)))]


def allowed_colours(ground: str) -> list[str]:
    """Return the colours that stand out from ``ground``."""
    return [colour for colour in COLOURS if colour not in _EXCLUDED[ground]]


def random_colours(rng: np.random.Generator, ground: str, count: int, repeats: float = _COLOUR_REPEATS) -> list[str]:
    """Draw ``count`` colours that stand out from ``ground``; ``repeats`` is the chance that one occurs again."""
    colours = _names(rng, allowed_colours(ground), count, repeats)
    if ground == "dark grey" and "white" not in colours and rng.random() < _WHITE_SHARE:
        replaced = colours[int(rng.integers(count))]
        colours = ["white" if colour == replaced else colour for colour in colours]
    return colours


def random_shape(rng: np.random.Generator, kind: str, colour: str, place: str, size: str | None = None) -> Shape:
    """Draw the details of a shape: size when not given, radius, turn, tint, and the centre near its cell's."""
    size = SIZES[int(rng.integers(len(SIZES)))] if size is None else size
    radius = random_radius(rng, size)
    x, y = centre_of(place)
    x += rng.uniform(-_CENTRE_JITTER, _CENTRE_JITTER)
    y += rng.uniform(-_CENTRE_JITTER, _CENTRE_JITTER)
    x, y = within_cell(place, x, y, radius)
    angle = _MAX_ANGLE_DEG[kind]
    turn = rng.uniform(-angle, angle)
    return Shape(kind, colour, size, place, x, y, radius, turn, random_tint(rng, colour))


def random_radius(rng: np.random.Generator, size: str) -> float:
    """Draw a radius that ``size`` names, as a fraction of the picture's short side."""
    return RADII[size] * rng.uniform(0.94, 1.06)


def within_cell(place: str, x: float, y: float, radius: float) -> tuple[float, float]:
    """Return the point nearest to (x, y) at which a shape of this radius stays inside its cell."""
    room = _CELL_HALF - _EXTENT * radius - _GAP
    centre_x, centre_y = centre_of(place)
    return min(max(x, centre_x - room), centre_x + room), min(max(y, centre_y - room), centre_y + room)


def random_tint(rng: np.random.Generator, colour: str) -> tuple[int, int, int]:
    """Draw an RGB colour that everyone calls ``colour``."""
    jitter = rng.integers(-_TINT_JITTER, _TINT_JITTER + 1, 3)
    red, green, blue = (min(255, max(0, base + int(j))) for base, j in zip(_BASE_RGB[colour], jitter, strict=True))
    return red, green, blue


def centre_of(place: str) -> tuple[float, float]:
    """Return the centre of a place's cell, 0 to 1 of width and height."""
    row, column = divmod(PLACES.index(place), 3)
    return (2 * column + 1) / 6, (2 * row + 1) / 6


def draw(scene: Scene, width: int = 112, height: int = 112, frame: int = 0) -> Image.Image:
    """Draw a scene as RGB; ``frame`` changes the noise and nothing else.

    The same arguments always give the same pixels.
    """
    canvas = ground_canvas(scene.ground, scene.seed, width, height)
    for shape in scene.shapes:
        paint(canvas, shape, scene.seed)
    return develop(canvas, scene.seed, frame)


def paint(canvas: Canvas, shape: Shape, seed: int = 0) -> None:
    """Lay an anti-aliased shape on ``canvas`` [H, W, 3] in place; ``seed`` decides how wide the rings' holes are."""
    height, width = canvas.shape[:2]
    radius = shape.radius * min(width, height)
    centre_x, centre_y = shape.x * width, shape.y * height
    reach = _EXTENT * radius + 1.5
    left, right = max(0, math.floor(centre_x - reach)), min(width, math.ceil(centre_x + reach))
    top, bottom = max(0, math.floor(centre_y - reach)), min(height, math.ceil(centre_y + reach))
    x = np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5 - centre_x)  # [1, w]
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - centre_y)  # [h, 1]
    angle = math.radians(shape.angle_deg)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    hole = 0.5 + seed % 11 / 100
    distance = _distance(shape.kind, x * cosine + y * sine, y * cosine - x * sine, np.float32(radius), hole)
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[:, :, None]  # [h, w, 1]
    box = canvas[top:bottom, left:right]
    box += cover * (np.array(shape.tint, np.float32) - box)


def _distance(kind: str, x: Canvas, y: Canvas, radius: np.float32, hole: float) -> Canvas:
    """Signed distance in pixels to the outline, negative inside; near corners it is that to the nearest edge's line."""
    if kind == "circle":
        return np.hypot(x, y) - radius
    if kind == "ring":
        middle, half = radius * np.float32((1 + hole) / 2), radius * np.float32((1 - hole) / 2)
        return np.abs(np.hypot(x, y) - middle) - half
    x = np.abs(x)
    if kind == "square":
        return np.maximum(x, np.abs(y)) - np.float32(0.86) * radius
    if kind == "cross":
        y = np.abs(y)
        return np.maximum(np.maximum(x, y) - np.float32(0.95) * radius, np.minimum(x, y) - np.float32(0.3) * radius)
    if kind == "triangle":
        # Its centre is that of its bounding box, a quarter of the circumradius above the centroid.
        side = np.float32(1.08) * radius
        y = y - np.float32(0.25) * side
        return np.maximum(y, np.float32(math.cos(math.pi / 6)) * x - np.float32(0.5) * y) - np.float32(0.5) * side
    return _star_distance(x, y, radius)


def _star_distance(x: Canvas, y: Canvas, radius: np.float32) -> Canvas:
    """Fold the plane into one tenth of a five-pointed star, where its outline is a single line."""
    tenth, inner = math.pi / 5, 0.45
    angle: Canvas = np.arctan2(x, -y)
    folded: Canvas = np.abs((angle + np.float32(tenth)) % np.float32(2 * tenth) - np.float32(tenth))
    far: Canvas = np.hypot(x, y)
    along, across = far * np.cos(folded), far * np.sin(folded)
    # The edge runs from the tip (1, 0) to the notch (a, b).
    a, b = inner * math.cos(tenth), inner * math.sin(tenth)
    length = math.hypot(1 - a, b)
    distance: Canvas = (along - radius) * np.float32(b / length) + across * np.float32((1 - a) / length)
    return distance


def develop(canvas: Canvas, seed: int, frame: int = 0) -> Image.Image:
    """Turn a canvas into a picture as a cheap camera would: noise, now and then a slight blur or JPEG artefacts."""
    rng = np.random.Generator(np.random.SFC64((seed, 1)))
    sigma, blurred, compressed, strength = rng.uniform(0, 8), rng.random() < 0.12, rng.random() < 0.08, rng.random()
    noise = np.random.Generator(np.random.SFC64((seed, 2, frame))).standard_normal(canvas.shape, np.float32)
    noise *= np.float32(sigma)
    noise += canvas
    noise += np.float32(0.5)
    pixels: NDArray[np.uint8] = np.clip(noise, 0, 255, out=noise).astype(np.uint8)
    image = Image.fromarray(pixels)
    if blurred:
        image = image.filter(ImageFilter.GaussianBlur((0.3 + 0.5 * strength) * min(image.size) / 112))
    if compressed:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(50 + 40 * strength))
        image = Image.open(file).convert("RGB")
    return image


def _names(rng: np.random.Generator, names: list[str] | tuple[str, ...], count: int, repeats: float) -> list[str]:
    """Draw ``count`` distinct names, or with chance ``repeats`` one of them several times."""
    drawn = [names[int(number)] for number in rng.permutation(len(names))[:count]]
    if count > 1 and rng.random() < repeats:
        copies = int(rng.integers(2, count + 1))
        drawn[:copies] = drawn[:1] * copies
        drawn = [drawn[int(number)] for number in rng.permutation(count)]
    return drawn
