"""The colours that people call by a name: of shapes and of grounds, as ranges of hue, saturation and value."""

import colorsys
from collections.abc import Mapping

import numpy as np

Rgb = tuple[int, int, int]
Range = tuple[float, float]
# Hue in degrees (above 360 it goes on at red), saturation and value from 0 to 1.
Box = tuple[Range, Range, Range]

SHAPE_COLOURS: Mapping[str, tuple[Box, ...]] = {
    "red": (((348, 367), (0.58, 1), (0.5, 1)),),
    "orange": (((18, 39), (0.6, 1), (0.82, 1)),),
    "yellow": (((47, 63), (0.42, 1), (0.82, 1)),),
    "green": (((86, 158), (0.32, 1), (0.34, 1)),),
    "blue": (((198, 247), (0.42, 1), (0.42, 1)),),
    "purple": (
        ((263, 288), (0.36, 1), (0.36, 1)), ((288, 306), (0.4, 1), (0.35, 0.82)),
        ((288, 304), (0.3, 0.55), (0.8, 0.95)),
    ),
    "black": (((0, 360), (0, 0.5), (0, 0.12)),),
    "white": (((0, 360), (0, 0.03), (0.96, 1)),),
}  # fmt: skip

GROUND_COLOURS: Mapping[str, tuple[Box, ...]] = {
    "white": (((0, 360), (0, 0.02), (0.965, 1)),),
    "light grey": (((0, 360), (0, 0.05), (0.74, 0.95)),),
    "grey": (((0, 360), (0, 0.07), (0.43, 0.72)),),
    "dark grey": (((0, 360), (0, 0.09), (0.18, 0.41)),),
    "black": (((0, 360), (0, 0.4), (0, 0.11)),),
    "cream": (((28, 54), (0.06, 0.2), (0.93, 1)),),
    "light brown": (((22, 40), (0.24, 0.5), (0.62, 0.84)),),
    "brown": (((14, 36), (0.45, 0.9), (0.25, 0.58)),),
    "pink": (((322, 368), (0.1, 0.45), (0.88, 1)),),
    "red": (((350, 366), (0.65, 1), (0.6, 1)),),
    "dark red": (((350, 366), (0.6, 1), (0.25, 0.5)),),
    "orange": (((20, 38), (0.7, 1), (0.86, 1)),),
    "light orange": (((18, 34), (0.22, 0.5), (0.94, 1)),),
    "yellow": (((48, 61), (0.6, 1), (0.88, 1)),),
    "light yellow": (((54, 64), (0.14, 0.5), (0.95, 1)),),
    "green": (((90, 152), (0.45, 1), (0.46, 0.85)),),
    "light green": (((88, 158), (0.1, 0.45), (0.84, 1)),),
    "dark green": (((90, 160), (0.4, 1), (0.14, 0.4)),),
    "turquoise": (((167, 187), (0.3, 1), (0.45, 1)),),
    "blue": (((200, 245), (0.5, 1), (0.58, 1)),),
    "light blue": (((192, 232), (0.1, 0.46), (0.86, 1)),),
    "dark blue": (((208, 246), (0.45, 1), (0.14, 0.5)),),
    "purple": (((265, 300), (0.4, 1), (0.45, 0.8)),),
    "light purple": (((250, 300), (0.08, 0.36), (0.86, 1)),),
    "dark purple": (((265, 304), (0.45, 1), (0.14, 0.38)),),
}  # fmt: skip


def random_rgb(rng: np.random.Generator, boxes: tuple[Box, ...]) -> Rgb:
    """Draw a colour out of one of ``boxes``; every second time near the most saturated and lightest corner."""
    hue, saturation, value = boxes[int(rng.integers(len(boxes)))]
    vivid = rng.random() < 0.5
    s, v = (_within(rng, limits, vivid) for limits in (saturation, value))
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue) / 360 % 1.0, s, v)
    return round(255 * red), round(255 * green), round(255 * blue)


def _within(rng: np.random.Generator, limits: Range, high: bool) -> float:
    low, top = limits
    return top - (top - low) * float(rng.beta(1, 3)) if high else float(rng.uniform(low, top))


def contrast(one: Rgb, other: Rgb) -> float:
    """Return about how different two colours look: their distance in CIE Lab; 100 from black to white."""
    return float(np.linalg.norm(_lab(one) - _lab(other)))


_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _lab(rgb: Rgb) -> np.ndarray:
    levels = np.array(rgb) / 255
    linear = np.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92)
    x, y, z = _XYZ @ linear / (0.9505, 1.0, 1.089)
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])
