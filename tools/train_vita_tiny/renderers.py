"""Several ways to draw a shape: each returns which share of every pixel the shape covers.

The model is to see what a shape is, whoever has drawn it.  Cairo, matplotlib, SVG and HTML are left to the exam.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tools.train_vita_tiny.geometry import hole, polygon

Cover = NDArray[np.float32]


@dataclass(frozen=True)
class Figure:
    """A shape in pixels, in a box of ``width`` by ``height``.

    Attributes:
        kind, form, angle_deg: as in ``geometry``.
        x, y, radius: where and how large.
        stroke: width of the line that it is drawn with, in pixels; 0 when it is filled.
    """

    kind: str
    form: float
    angle_deg: float
    x: float
    y: float
    radius: float
    stroke: float = 0.0

    @property
    def corners(self) -> NDArray[np.float32]:
        """Corners [n, 2] in pixels."""
        at = np.array((self.x, self.y), np.float32)
        points: NDArray[np.float32] = polygon(self.kind, self.form, self.angle_deg) * np.float32(self.radius) + at
        return points


def by_field(figure: Figure, width: int, height: int) -> Cover:
    """Draw by the distance to the outline, anti-aliased."""
    x = np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5)  # [1, W]
    y = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)  # [H, 1]
    if figure.kind in ("circle", "ring"):
        distance = np.hypot(x - np.float32(figure.x), y - np.float32(figure.y)) - np.float32(figure.radius)
        if figure.kind == "ring":
            distance = np.maximum(distance, -distance - np.float32(figure.radius * (1 - hole(figure.form))))
    else:
        distance = _polygon_distance(figure.corners, x, y)
    if figure.stroke:
        distance = np.abs(distance) - np.float32(figure.stroke / 2)
    cover: Cover = np.clip(np.float32(0.5) - distance, 0, 1)
    return cover


def _polygon_distance(corners: NDArray[np.float32], x: Cover, y: Cover) -> Cover:
    """Return the signed distance [H, W] to a polygon, negative inside."""
    inside = np.zeros((y.shape[0], x.shape[1]), bool)
    nearest = np.full(inside.shape, np.float32(1e12))
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        nearest = np.minimum(nearest, (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2)
        inside ^= ((ay > y) != (by > y)) & (x < ax + dx * (y - ay) / (dy if abs(dy) > 1e-9 else 1e-9))
    return np.where(inside, -np.sqrt(nearest), np.sqrt(nearest))


def by_pillow(figure: Figure, width: int, height: int, scale: int = 1) -> Cover:
    """Draw flat with Pillow, jagged at its edges."""
    image = Image.new("L", (width * scale, height * scale))
    pen = ImageDraw.Draw(image)
    x, y, radius, stroke = (scale * value for value in (figure.x, figure.y, figure.radius, figure.stroke))
    if figure.kind == "ring" and not stroke:
        stroke = radius * (1 - hole(figure.form))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=255, width=max(1, round(stroke)))
    elif figure.kind in ("circle", "ring"):
        fill = None if stroke else 255
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill, 255, width=max(1, round(stroke)))
    else:
        points = [(float(px), float(py)) for px, py in figure.corners * scale]
        if stroke:
            pen.line([*points, points[0], points[1]], 255, max(1, round(stroke)), joint="curve")
        else:
            pen.polygon(points, 255)
    return np.asarray(image.reduce(scale) if scale > 1 else image, np.float32) / np.float32(255)


def by_supersampling(figure: Figure, width: int, height: int) -> Cover:
    """Draw four times as large with Pillow and reduce it."""
    return by_pillow(figure, width, height, 4)


def by_skia(figure: Figure, width: int, height: int) -> Cover:
    """Draw with Skia, which browsers use."""
    skia: Any = import_module("skia")
    surface = skia.Surface(width, height)
    paint = skia.Paint(AntiAlias=True, Color=skia.ColorWHITE)
    if figure.stroke or figure.kind == "ring":
        ring = figure.radius * (1 - hole(figure.form)) if figure.kind == "ring" else 0.0
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(figure.stroke or ring)
    if figure.kind in ("circle", "ring"):
        inset = 0.0 if figure.stroke or figure.kind == "circle" else figure.radius * (1 - hole(figure.form)) / 2
        surface.getCanvas().drawCircle(figure.x, figure.y, figure.radius - inset, paint)
    else:
        path = skia.Path()
        path.addPoly([skia.Point(float(x), float(y)) for x, y in figure.corners], True)
        surface.getCanvas().drawPath(path, paint)
    return np.asarray(surface.toarray()[:, :, 0], np.float32) / np.float32(255)  # red of white on black: coverage


# Characters of DejaVu, filled and as outlines.
_GLYPHS = {
    "circle": ("●", "•"), "square": ("■", "◼"), "triangle": ("▲", "▴"), "star": ("★",),
    "cross": ("✚", "✖", "+"), "ring": ("○", "◯", "◦"),
}  # fmt: skip
_HOLLOW = {"square": ("□", "◻"), "triangle": ("△",), "star": ("☆", "✩")}
_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf")
_GLYPH_SIZE = 160


def has_glyph(figure: Figure) -> bool:
    """Say whether there is a character that looks like a figure."""
    return not figure.stroke or figure.kind in _HOLLOW


def by_glyph(figure: Figure, width: int, height: int) -> Cover:
    """Write a character of a font; which one follows from the figure's form."""
    choice = (_HOLLOW if figure.stroke else _GLYPHS)[figure.kind]
    number = int(figure.form * 9973)
    glyph = _glyph(choice[number % len(choice)], _FONTS[number % len(_FONTS)])
    side = max(1, round(2 * figure.radius))
    scale = side / max(glyph.size)
    small = glyph.resize(
        (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))), Image.Resampling.BOX
    )
    turn = figure.angle_deg
    turned = small.rotate(-turn, Image.Resampling.BICUBIC, expand=True) if turn else small
    image = Image.new("L", (width, height))
    image.paste(turned, (round(figure.x - turned.width / 2), round(figure.y - turned.height / 2)))
    return np.asarray(image, np.float32) / np.float32(255)


@cache
def _glyph(character: str, font: str) -> Image.Image:
    """Return a character cut out of its line."""
    image = Image.new("L", (2 * _GLYPH_SIZE, 2 * _GLYPH_SIZE))
    ImageDraw.Draw(image).text((_GLYPH_SIZE // 2, _GLYPH_SIZE // 4), character, 255, font_of(font, _GLYPH_SIZE))
    return image.crop(image.getbbox())


@cache
def font_of(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load one of the fonts that matplotlib ships."""
    import matplotlib as mpl

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


Renderer = Callable[[Figure, int, int], Cover]
RENDERERS: dict[str, Renderer] = {
    "field": by_field, "pillow": by_pillow, "supersampled": by_supersampling, "skia": by_skia, "glyph": by_glyph,
}  # fmt: skip
