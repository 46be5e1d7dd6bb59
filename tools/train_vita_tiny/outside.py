"""Pictures that are no scenes of shapes: noise, patterns, text, charts, drawings, photographs."""

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tools.train_vita_tiny.painting import develop
from tools.train_vita_tiny.photographs import HELD_OUT_PHOTOGRAPHS, PHOTOGRAPHS, random_crop
from tools.train_vita_tiny.renderers import font_of

Rgb = tuple[int, int, int]

_WORDS = (
    "the", "and", "for", "with", "total", "price", "open", "closed", "north", "street", "daily", "news", "sale",
    "exit", "page", "chapter", "report", "notes", "invoice", "water", "bread", "coffee", "train", "ticket", "Monday",
    "April", "hello", "thanks", "please", "read", "sign", "here", "model", "data", "table", "figure", "Bank",
)  # fmt: skip
# Signs of DejaVu that are no circle, square, triangle, star, cross or ring.
_SIGNS = "♥♠♣♪♫☺☹☂☎✈✂✉✎➔→←↑↓⇒⇔∞∑∫√≈≠€£§¶©®&@#%?!ΩπλΨ♀♂☯♻⚑⚓⚔⚖⚙⚡✓♔♞⌂⌘"
_SIGN_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans.ttf")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789.,:;!?-+%&"


def random_outside(rng: np.random.Generator, size: int = 112, families: tuple[str, ...] | None = None) -> Image.Image:
    """Draw an RGB picture of one of ``families``, ``size`` pixels a side.

    Without ``families`` it is one of ``FAMILIES``; a family that is named twice comes twice as often.

    Raises:
        VitaDemoError: when a photograph is drawn and scikit-image, which ships them, is not installed.
    """
    families = FAMILIES if families is None else families
    image = _PAINTERS[families[int(rng.integers(len(families)))]](rng, size)
    if rng.random() < 0.5:
        return image
    return develop(np.asarray(image, np.float32), int(rng.integers(2**31)))


def _white_noise(rng: np.random.Generator, size: int) -> Image.Image:
    channels = 1 if rng.random() < 0.4 else 3
    pixels = rng.integers(0, 256, (size, size, channels), np.uint8)
    spread = rng.uniform(0.4, 1)
    return _picture(128 + spread * (np.repeat(pixels, 3 // channels, axis=2) - 128.0))


def _clouds(rng: np.random.Generator, size: int) -> Image.Image:
    """Coloured noise of one low frequency."""
    cells = int(rng.integers(5, 28))
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
    return coarse.resize((size, size), Image.Resampling.BICUBIC)


def _plasma(rng: np.random.Generator, size: int) -> Image.Image:
    """Noise of several octaves seen through a cyclic palette."""
    height = np.zeros((size, size), np.float32)
    for cells, weight in ((3, 1.0), (6, 0.5), (12, 0.25), (24, 0.12)):
        coarse = Image.fromarray(rng.uniform(-weight, weight, (cells, cells)).astype(np.float32))
        height += np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    return _palette(rng, height * rng.uniform(1, 4))


def _julia(rng: np.random.Generator, size: int) -> Image.Image:
    """A Julia set, coloured by when points escape."""
    axis = np.linspace(-1.4, 1.4, size, dtype=np.float32)
    z = (axis[None, :] + 1j * axis[:, None]).astype(np.complex64)
    c = np.complex64(0.7885 * np.exp(1j * rng.uniform(0, 2 * math.pi)))
    count = np.zeros((size, size), np.float32)
    for _ in range(24):
        z = np.where(np.abs(z) < 3, z * z + c, z)
        count += np.abs(z) < 3
    return _palette(rng, count * rng.uniform(0.1, 0.3))


def _checkerboard(rng: np.random.Generator, size: int) -> Image.Image:
    cells = int(rng.integers(4, 17))
    board = np.indices((cells, cells)).sum(axis=0) % 2
    return _two_tone(rng, board == 1).resize((size, size), Image.Resampling.NEAREST)


def _stripes(rng: np.random.Generator, size: int) -> Image.Image:
    angle, turns = rng.uniform(0, math.pi), rng.uniform(3, 14)
    y, x = np.mgrid[0:size, 0:size] / size
    wave = np.sin(2 * math.pi * turns * (x * math.cos(angle) + y * math.sin(angle)))
    return _two_tone(rng, wave > rng.uniform(-0.5, 0.5))


def _blocks(rng: np.random.Generator, size: int) -> Image.Image:
    """Random cells as in a QR code, with its three corner marks half of the time."""
    cells = int(rng.integers(15, 34))
    code = rng.random((cells, cells)) < rng.uniform(0.4, 0.6)
    if rng.random() < 0.5:
        mark = np.zeros((8, 8), bool)
        mark[:7, :7] = True
        mark[1:6, 1:6] = False
        mark[2:5, 2:5] = True
        code[:8, :8], code[:8, -8:], code[-8:, :8] = mark, mark[:, ::-1], mark[::-1]
    return _two_tone(rng, ~code).resize((size, size), Image.Resampling.NEAREST)


def _maze(rng: np.random.Generator, size: int) -> Image.Image:
    """A binary-tree maze: every room opens to the right or downwards."""
    rooms = int(rng.integers(6, 16))
    way = np.zeros((2 * rooms + 1, 2 * rooms + 1), bool)
    way[1::2, 1::2] = True
    to_right = rng.random((rooms, rooms)) < 0.5
    to_right[-1], to_right[:, -1] = True, False
    way[1::2, 2::2], way[2::2, 1::2] = to_right, ~to_right
    way[-1], way[:, -1] = False, False
    return _two_tone(rng, way).resize((size, size), Image.Resampling.NEAREST)


def _mosaic(rng: np.random.Generator, size: int) -> Image.Image:
    """Cells around random points, each of one colour."""
    count = int(rng.integers(20, 60))
    sites = rng.uniform(0, size, (count, 2)).astype(np.float32)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    nearest = np.argmin((y[:, :, None] - sites[:, 0]) ** 2 + (x[:, :, None] - sites[:, 1]) ** 2, axis=2)
    return Image.fromarray(rng.integers(0, 256, (count, 3), np.uint8)[nearest])


def _text(rng: np.random.Generator, size: int) -> Image.Image:
    paper, ink = _paper_and_ink(rng)
    image, height = Image.new("RGB", (size, size), paper), int(rng.integers(7, 30))
    pen, font = ImageDraw.Draw(image), _font(int(height * size / 112))
    y = rng.uniform(0, 0.05) * size
    while y < size:
        pen.text((rng.uniform(0.01, 0.06) * size, y), _line(rng), fill=ink, font=font)
        y += height * size / 112 * rng.uniform(1.1, 1.4)
    return image


def _bar_chart(rng: np.random.Generator, size: int) -> Image.Image:
    image, pen, ink = _axes(rng, size)
    count = int(rng.integers(4, 13))
    one_colour = _rgb(rng, 30, 220) if rng.random() < 0.6 else None
    edges = np.linspace(0.14, 0.95, count + 1) * size
    for left, right, value in zip(edges[:-1], edges[1:], rng.uniform(0.05, 0.8, count), strict=True):
        box = (left, (0.9 - value) * size, right - 0.2 * (right - left), 0.9 * size)
        pen.rectangle(box, fill=one_colour or _rgb(rng, 30, 220), outline=ink if size > 150 else None)
    return image.transpose(Image.Transpose.ROTATE_270) if rng.random() < 0.3 else image


def _line_plot(rng: np.random.Generator, size: int) -> Image.Image:
    image, pen, _ = _axes(rng, size)
    x = np.linspace(0.12, 0.95, int(rng.integers(6, 60))) * size
    for _ in range(int(rng.integers(1, 4))):
        walk = np.cumsum(rng.standard_normal(len(x)))
        y = (0.85 - 0.7 * (walk - walk.min()) / max(float(np.ptp(walk)), 1e-6)) * size
        pen.line(_points(x, y), fill=_rgb(rng, 0, 200), width=int(rng.integers(1, 4)) * size // 112)
    return image


def _scribble(rng: np.random.Generator, size: int) -> Image.Image:
    """Curly lines as from a pen."""
    paper, ink = _paper_and_ink(rng)
    image = Image.new("RGB", (2 * size, 2 * size), paper)
    pen = ImageDraw.Draw(image)
    rows = int(rng.integers(1, 6))
    for row in range(rows):
        time = np.arange(150)
        loops = np.cumsum(rng.uniform(0.15, 0.55, 150))
        height = 0.32 / rows * rng.uniform(0.6, 1.4, 150)
        x = 0.06 + 0.86 * time / 150 + 0.6 * height * np.cos(loops)
        y = (row + 0.5) / rows + height * np.sin(loops * rng.uniform(0.8, 1.2))
        pen.line(_points(x * 2 * size, y * 2 * size), fill=ink, width=int(rng.integers(2, 6)) * size // 112)
    return image.reduce(2)


def _confetti(rng: np.random.Generator, size: int) -> Image.Image:
    """Dozens of small pieces, one over the other."""
    image = Image.new("RGB", (size, size), _rgb(rng, 0, 255))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(60, 160))):
        x, y, width, height = rng.uniform(0, 1, 4) * (size, size, 0.2 * size, 0.2 * size)
        if rng.random() < 0.5:
            pen.ellipse((x - width, y - height, x, y), fill=_rgb(rng, 0, 255))
        else:
            pen.polygon(_points(*(rng.uniform(-0.5, 0.5, (2, 3)) * width + [[x], [y]])), fill=_rgb(rng, 0, 255))
    return image


def _icon(rng: np.random.Generator, size: int) -> Image.Image:
    """One or two signs that are none of the six kinds, as large as shapes are."""
    paper, ink = _paper_and_ink(rng)
    image = Image.new("RGB", (size, size), paper)
    pen = ImageDraw.Draw(image)
    for _ in range(1 if rng.random() < 0.8 else 2):
        height = int(rng.uniform(0.12, 0.9) * size)
        x, y = rng.uniform(0, 0.9) * (size - 0.6 * height), rng.uniform(0, 0.8) * (size - 0.7 * height)
        sign = _SIGNS[int(rng.integers(len(_SIGNS)))] if rng.random() < 0.65 else _letter(rng)
        pen.text((x, y), sign, ink, font_of(_SIGN_FONTS[int(rng.integers(len(_SIGN_FONTS)))], height), anchor="lt")
    return image


def _letter(rng: np.random.Generator) -> str:
    # An O is a ring, and an X or a plus a cross.
    letters = (
        _LETTERS.replace("O", "").replace("o", "").replace("0", "").replace("X", "").replace("x", "").replace("+", "")
    )
    return letters[int(rng.integers(len(letters) - 9))]


def _words(rng: np.random.Generator, size: int) -> Image.Image:
    """One to three words on a page, anywhere."""
    paper, ink = _paper_and_ink(rng)
    image = Image.new("RGB", (size, size), paper)
    count = int(rng.integers(1, 4))
    text = ("\n" if rng.random() < 0.3 else " ").join(_line(rng).split()[:count])
    font = font_of(_SIGN_FONTS[int(rng.integers(len(_SIGN_FONTS)))], int(rng.uniform(0.06, 0.3) * size))
    at = (rng.uniform(0.02, 0.4) * size, rng.uniform(0.02, 0.8) * size)
    ImageDraw.Draw(image).text(at, text, ink, font)
    return image


def _stroke(rng: np.random.Generator, size: int) -> Image.Image:
    """One or two open lines: a curve, a wave, a spiral, an arrow."""
    paper, ink = _paper_and_ink(rng)
    image = Image.new("RGB", (2 * size, 2 * size), paper)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 3))):
        time = np.linspace(0, 1, 60)
        start, turn, bend = rng.uniform(0.2, 0.8, 2), rng.uniform(0, 2 * math.pi), rng.uniform(-4, 4)
        angle = turn + bend * time + rng.uniform(0, 2) * np.sin(2 * math.pi * rng.uniform(0.5, 3) * time)
        length = rng.uniform(0.3, 1.0) / 60
        x, y = start[0] + np.cumsum(np.cos(angle)) * length, start[1] + np.cumsum(np.sin(angle)) * length
        pen.line(_points(x * 2 * size, y * 2 * size), ink, max(2, int(rng.uniform(0.01, 0.07) * size)), joint="curve")
    return image.reduce(2)


def _blob(rng: np.random.Generator, size: int) -> Image.Image:
    """One thing with an outline of its own on a plain ground: flat, or cut out of a photograph."""
    paper, ink = _paper_and_ink(rng)
    angle = np.linspace(0, 2 * math.pi, 80, endpoint=False)
    waves = sum(rng.uniform(-0.35, 0.35) / k**0.5 * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 6))
    radius = rng.uniform(0.12, 0.3) * (1 + waves) * size
    centre = rng.uniform(0.35, 0.65, 2) * size
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).polygon(_points(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)), 255)
    inside = random_crop(rng, size, PHOTOGRAPHS) if rng.random() < 0.6 else Image.new("RGB", (size, size), ink)
    return Image.composite(inside, Image.new("RGB", (size, size), paper), mask)


def _axes(rng: np.random.Generator, size: int) -> tuple[Image.Image, ImageDraw.ImageDraw, Rgb]:
    """Start a chart: paper with two axes, and now and then a grid and a title."""
    paper, ink = _paper_and_ink(rng)
    image = Image.new("RGB", (size, size), paper)
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        grey = (128, 128, 128)
        for level in np.linspace(0.1, 0.9, 6)[:-1] * size:
            pen.line((0.1 * size, level, 0.96 * size, level), fill=grey)
    if rng.random() < 0.5:
        pen.text((0.2 * size, 0), _line(rng)[:14], fill=ink, font=_font(max(8, size // 12)))
    pen.line((0.1 * size, 0.05 * size, 0.1 * size, 0.9 * size, 0.96 * size, 0.9 * size), fill=ink)
    return image, pen, ink


def _line(rng: np.random.Generator) -> str:
    if rng.random() < 0.7:
        return " ".join(_WORDS[int(number)] for number in rng.integers(0, len(_WORDS), 7))
    return "".join(_LETTERS[int(number)] for number in rng.integers(0, len(_LETTERS), 24))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _points(x: NDArray[np.floating], y: NDArray[np.floating]) -> list[tuple[float, float]]:
    return [(float(across), float(down)) for across, down in zip(x, y, strict=True)]


def _rgb(rng: np.random.Generator, lowest: int, highest: int) -> Rgb:
    red, green, blue = (int(level) for level in rng.integers(lowest, highest + 1, 3))
    return red, green, blue


def _paper_and_ink(rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    """Two colours that differ clearly, the lighter one first in two of three cases."""
    light, dark = _rgb(rng, 200, 255), _rgb(rng, 0, 90)
    return (light, dark) if rng.random() < 2 / 3 else (dark, light)


def _two_tone(rng: np.random.Generator, mask: NDArray[np.bool_]) -> Image.Image:
    """Paint a mask [H, W] in two colours."""
    paper, ink = _paper_and_ink(rng)
    return Image.fromarray(np.array((ink, paper), np.uint8)[mask.astype(np.uint8)])


def _palette(rng: np.random.Generator, phase: NDArray[np.float32]) -> Image.Image:
    """Colour a field [H, W] by three shifted waves."""
    return _picture(128 + 120 * np.sin(phase[:, :, None] * 2 + rng.uniform(0, 2 * math.pi, 3)))


def _picture(levels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


_Painter = Callable[[np.random.Generator, int], Image.Image]


def _photograph(names: tuple[str, ...]) -> _Painter:
    return partial(random_crop, names=names)


_PAINTERS: dict[str, _Painter] = {
    "white noise": _white_noise,
    "clouds": _clouds,
    "plasma": _plasma,
    "checkerboard": _checkerboard,
    "stripes": _stripes,
    "blocks": _blocks,
    "text": _text,
    "bar chart": _bar_chart,
    "scribble": _scribble,
    "confetti": _confetti,
    "photograph": _photograph(PHOTOGRAPHS),
    "line plot": _line_plot,
    "icon": _icon,
    "words": _words,
    "stroke": _stroke,
    "blob": _blob,
    "julia": _julia,
    "maze": _maze,
    "mosaic": _mosaic,
    "held-out photograph": _photograph(HELD_OUT_PHOTOGRAPHS),
}
HELD_OUT_FAMILIES = ("julia", "maze", "mosaic", "held-out photograph")  # never used in training
# What looks most like a scene comes twice as often.
NEAR_MISSES = ("icon", "words", "stroke", "blob")
FAMILIES = (*(family for family in _PAINTERS if family not in HELD_OUT_FAMILIES), *NEAR_MISSES)
