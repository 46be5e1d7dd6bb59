"""What the six kinds look like, whoever draws them: outlines in units of the radius, y downwards."""

import math

import numpy as np
from numpy.typing import NDArray

KINDS = ("circle", "square", "triangle", "star", "cross", "ring")
Points = NDArray[np.float32]

# How far each kind may reach from its centre, in radii.
REACH = {"circle": 1.0, "square": 1.42, "triangle": 1.2, "star": 1.05, "cross": 1.12, "ring": 1.0}


def hole(form: float) -> float:
    """Return the radius of a ring's hole, of the ring's: from 0.45, a thick one, to 0.88, a mere line."""
    return 0.45 + 0.43 * form


def polygon(kind: str, form: float, angle_deg: float = 0.0) -> Points:
    """Return the corners [n, 2] of a kind that has some; ``form``, 0 to 1, says which of its usual looks it has."""
    corners = np.array(_CORNERS[kind](form), np.float32)  # [n, 2]
    angle = math.radians(angle_deg)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], np.float32)
    turned: Points = corners @ turn
    return turned


def _square(form: float) -> list[tuple[float, float]]:
    half = 0.76 + 0.24 * form
    return [(-half, -half), (half, -half), (half, half), (-half, half)]


def _triangle(form: float) -> list[tuple[float, float]]:
    # From a flat one over an equilateral one to a steep one; all fill their box, whose middle is the centre.
    width, height = 1.0, 0.72 + 0.36 * form
    scale = 1.08 / max(1.0, math.hypot(width, height) / 1.2)
    return [(0, -height * scale), (width * scale, height * scale), (-width * scale, height * scale)]


def _star(form: float) -> list[tuple[float, float]]:
    notch = 0.36 + 0.17 * form
    spokes = [(1.0 if i % 2 == 0 else notch, math.pi * i / 5) for i in range(10)]
    return [(length * math.sin(angle), -length * math.cos(angle)) for length, angle in spokes]


def _cross(form: float) -> list[tuple[float, float]]:
    arm, far = 0.2 + 0.22 * form, 0.97
    quarter = [(-arm, -far), (arm, -far), (arm, -arm)]
    return [(x * c - y * s, x * s + y * c) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1)) for x, y in quarter]


_CORNERS = {"square": _square, "triangle": _triangle, "star": _star, "cross": _cross}
