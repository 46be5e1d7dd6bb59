"""Scenes as pictures: ground, shadows, shapes and outlines by one of several renderers, and what cameras do to it."""

import io
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tools.train_vita_tiny.grounds import Canvas, ground_canvas
from tools.train_vita_tiny.renderers import RENDERERS, Figure, by_supersampling, has_glyph
from tools.train_vita_tiny.scenes import Scene, Shape

Random = np.random.Generator

_SHADOW_SHARE, _OUTLINE_SHARE, _GRADIENT_SHARE = 0.1, 0.14, 0.15
_UNTOUCHED_SHARE = 0.4
_RENDERER_SHARES = {"field": 0.25, "pillow": 0.22, "supersampled": 0.13, "skia": 0.25, "glyph": 0.15}


def draw(scene: Scene, width: int | None = None, height: int | None = None, frame: int = 0) -> Image.Image:
    """Draw a scene as RGB, of its own size when none is given; ``frame`` changes the noise and nothing else.

    The same arguments always give the same pixels.
    """
    width, height = width or scene.width, height or scene.height
    canvas = ground_canvas(scene.tint, scene.seed, width, height)
    style = np.random.Generator(np.random.SFC64((scene.seed, 3)))
    brush = Brush(style)
    for shape in scene.shapes:
        brush.paint(canvas, shape)
    return develop(canvas, scene.seed, frame)


class Brush:
    """How all shapes of one scene are drawn."""

    def __init__(self, rng: Random) -> None:
        names = list(_RENDERER_SHARES)
        self.renderer = names[int(rng.choice(len(names), p=list(_RENDERER_SHARES.values())))]
        self.shadow = rng.uniform(0.2, 0.6) if rng.random() < _SHADOW_SHARE else 0.0
        self.shadow_way = rng.uniform(-0.2, 0.2, 2)
        self.outline = rng.uniform(0.03, 0.12) if rng.random() < _OUTLINE_SHARE else 0.0
        self.outline_level = float(rng.choice([0.0, 0.0, 255.0, 128.0]))
        self.gradient = rng.uniform(10, 60) if rng.random() < _GRADIENT_SHARE else 0.0
        self.gradient_way = float(rng.uniform(0, 2 * math.pi))

    def paint(self, canvas: Canvas, shape: Shape) -> None:
        """Lay a shape on ``canvas`` [H, W, 3] in place."""
        height, width = canvas.shape[:2]
        radius = shape.radius * min(width, height)
        centre_x, centre_y = shape.x * width, shape.y * height
        reach = 1.5 * radius + 3
        left, right = max(0, math.floor(centre_x - reach)), min(width, math.ceil(centre_x + reach))
        top, bottom = max(0, math.floor(centre_y - reach)), min(height, math.ceil(centre_y + reach))
        size = (right - left, bottom - top)
        stroke = max(1.0, shape.stroke * radius) if shape.stroke else 0.0
        figure = Figure(shape.kind, shape.form, shape.angle_deg, centre_x - left, centre_y - top, radius, stroke)
        renderer = RENDERERS[self.renderer] if self.renderer != "glyph" or has_glyph(figure) else by_supersampling
        cover = renderer(figure, *size)[:, :, None]  # [h, w, 1]
        box = canvas[top:bottom, left:right]
        if self.shadow:
            shift = [round(float(way) * radius) for way in self.shadow_way]
            box *= 1 - np.float32(self.shadow) * np.roll(cover, shift, (0, 1))
        box += cover * (self._fill(shape, size) - box)
        if self.outline and not stroke and self.renderer != "glyph" and shape.kind != "ring":
            line = replace(figure, stroke=max(1.0, self.outline * radius))
            box += renderer(line, *size)[:, :, None] * (np.float32(self.outline_level) - box)

    def _fill(self, shape: Shape, size: tuple[int, int]) -> Canvas:
        tint = np.array(shape.tint, np.float32)
        if not self.gradient or shape.colour in ("black", "white"):
            return tint
        x = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[None, :, None]
        y = np.linspace(-0.5, 0.5, size[1], dtype=np.float32)[:, None, None]
        ramp: Canvas = x * np.float32(math.cos(self.gradient_way)) + y * np.float32(math.sin(self.gradient_way))
        ramp *= np.float32(self.gradient)
        filled: Canvas = ramp + tint  # [h, w, 3]
        return filled


def develop(canvas: Canvas, seed: int, frame: int = 0) -> Image.Image:
    """Turn a canvas into a picture: every third or so as it is, the others through a cheap camera or a small file."""
    rng = np.random.Generator(np.random.SFC64((seed, 1)))
    if rng.random() < _UNTOUCHED_SHARE:
        return Image.fromarray(np.clip(canvas + np.float32(0.5), 0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        canvas = _lit(canvas, rng)
    if rng.random() < 0.5:
        noise = np.random.Generator(np.random.SFC64((seed, 2, frame))).standard_normal(canvas.shape, np.float32)
        canvas = canvas + noise * np.float32(rng.uniform(0.5, 9))
    pixels: NDArray[np.uint8] = np.clip(canvas + np.float32(0.5), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if rng.random() < 0.12:
        image = _seen_from_aside(image, rng)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4) * min(image.size) / 200))
    if rng.random() < 0.35:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(30, 96)))
        image = Image.open(file).convert("RGB")
    return image


def _lit(canvas: Canvas, rng: Random) -> Canvas:
    """Let light fall from one side, a little warmer or colder."""
    height, width = canvas.shape[:2]
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0.04, 0.18)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(math.cos(angle))
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(math.sin(angle))
    light = 1 + np.float32(strength) * (across + down)[:, :, None]  # [H, W, 1]
    return canvas * light * rng.uniform(0.96, 1.02, 3).astype(np.float32)


def _seen_from_aside(image: Image.Image, rng: Random) -> Image.Image:
    """Move the corners by up to a thirtieth of the picture; what appears at the edges repeats them."""
    width, height = image.size
    moved = rng.uniform(-0.03, 0.03, (4, 2)) * (width, height)
    corners = np.array([(0, 0), (0, height), (width, height), (width, 0)]) + np.abs(moved) * (
        (1, 1),
        (1, -1),
        (-1, -1),
        (-1, 1),
    )
    return image.transform(
        image.size, Image.Transform.QUAD, tuple(corners.flatten().tolist()), Image.Resampling.BILINEAR
    )
