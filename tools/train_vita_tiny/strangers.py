"""Pictures and clips that training's code has not made: by Cairo, matplotlib, SVG, HTML and fonts, and by ffmpeg.

Shares with the generator the names of things and where which name ends; draws, places and colours on its own.
"""

import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tools.train_vita_tiny.photographs import HELD_OUT_PHOTOGRAPHS, random_crop
from tools.train_vita_tiny.scenes import COLOURS, KINDS, Scene, Shape, in_order, place_of
from vita_demo.errors import VitaDemoError

Random = np.random.Generator
Rgb = tuple[int, int, int]
Point = tuple[float, float]

# Colours as CSS, Material Design and Tableau have them.
TINTS: dict[str, tuple[str, ...]] = {
    "red": ("#ff0000", "#dc143c", "#f44336", "#d62728", "#b22222", "#8b0000", "#ff6961"),
    "orange": ("#ffa500", "#ff8c00", "#ff9800", "#ff7f0e", "#ffb347"),
    "yellow": ("#ffff00", "#ffd700", "#ffeb3b", "#fdfd96", "#f1c40f"),
    "green": ("#008000", "#00ff00", "#4caf50", "#2ca02c", "#006400", "#77dd77", "#2e8b57"),
    "blue": ("#0000ff", "#2196f3", "#1f77b4", "#000080", "#6495ed", "#1e90ff", "#4169e1"),
    "purple": ("#800080", "#9c27b0", "#9467bd", "#4b0082", "#b19cd9", "#8a2be2"),
    "black": ("#000000", "#111111", "#1c1c1c"),
    "white": ("#ffffff", "#fafafa"),
}
# Grounds, each with the names that a person may give it.
GROUNDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("#ffffff", ("white",)), ("#ffffff", ("white",)), ("#ebebeb", ("light grey", "white")),
    ("#f5f5f5", ("white", "light grey")),
    ("#d3d3d3", ("light grey",)), ("#808080", ("grey",)), ("#404040", ("dark grey",)), ("#000000", ("black",)),
    ("#fffdd0", ("cream", "light yellow")), ("#add8e6", ("light blue",)), ("#000080", ("dark blue", "blue")),
    ("#8b4513", ("brown",)), ("#90ee90", ("light green",)), ("#ffc0cb", ("pink",)),
    ("#006400", ("dark green", "green")), ("#e6e6fa", ("light purple", "light blue")),
    ("#ffdab9", ("light orange", "cream", "pink")),
)  # fmt: skip
SIZES_PX = (
    (448, 448), (512, 512), (640, 480), (800, 600), (640, 360), (300, 300), (1024, 768), (480, 640), (256, 256),
    (200, 150),
)  # fmt: skip
_MARGIN = 0.05
_FREE_FONTS = ("FreeSans.ttf", "FreeSerif.ttf", "Symbola_hint.ttf")
_SIGNS = {"circle": "●", "square": "■", "triangle": "▲", "star": "★", "cross": "✚", "ring": "○"}


@dataclass(frozen=True)
class Drawing:
    """A scene, and what else a person may call its parts.

    Attributes:
        scene: what there is.
        grounds: the names that its ground may be given.
        images: the picture, or a clip's frames.
        happens: for clips the words that say what happens.
    """

    scene: Scene
    grounds: tuple[str, ...]
    images: list[Image.Image] = field(default_factory=list)
    happens: tuple[str, ...] = ()

    def places(self, shape: Shape) -> set[str]:
        """Return the places that a shape may be said to be in: near a border there are two."""
        steps = (-_MARGIN, 0.0, _MARGIN)
        return {place_of(shape.x + dx, shape.y + dy) for dx in steps for dy in steps}


def rgb_of(code: str) -> Rgb:
    """Read "#ff8000"."""
    red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _seen_on(colour: str, ground: Rgb) -> list[str]:
    """Return the tints of a colour that stand out from a ground, by brightness and hue."""

    def far(code: str) -> bool:
        one, other = np.array(rgb_of(code), float), np.array(ground, float)
        return float(np.abs((one - other) @ (0.3, 0.59, 0.11))) + 0.5 * float(np.abs(one - other).max()) > 85

    return [code for code in TINTS[colour] if far(code)]


def random_scene_of(
    rng: Random, count: int | None = None, size: tuple[int, int] | None = None, ground: str | None = None
) -> tuple[Scene, tuple[str, ...]]:
    """Draw a scene of one to three shapes anywhere, as people make test pictures, with its ground's names."""
    width, height = size or SIZES_PX[int(rng.integers(len(SIZES_PX)))]
    known = [pair for pair in GROUNDS if ground in (None, pair[0])]
    code, names = known[int(rng.integers(len(known)))]
    count = count or int(rng.integers(1, 4))
    short = min(width, height)
    while True:
        colours = [COLOURS[i] for i in rng.permutation(len(COLOURS)) if _seen_on(COLOURS[i], rgb_of(code))][:count]
        kinds = [KINDS[i] for i in rng.permutation(len(KINDS))[:count]]
        shapes: list[Shape] = []
        for kind, colour in zip(kinds, colours, strict=True):
            radius = float(rng.choice([0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.22, 0.26]))
            room = [0.5 - 1.2 * radius * short / side for side in (width, height)]
            x, y = (0.5 + float(rng.uniform(-space, space)) for space in room)
            choice = _seen_on(colour, rgb_of(code))
            tint = rgb_of(choice[int(rng.integers(len(choice)))])
            turn = float(rng.uniform(0, 360)) if rng.random() < 0.4 else 0.0
            shapes.append(Shape(kind, colour, x, y, radius, turn, tint))
        if _apart(shapes, width, height):
            return Scene(in_order(shapes), names[0], rgb_of(code), width, height, 0), names


def _apart(shapes: Sequence[Shape], width: int, height: int) -> bool:
    short = min(width, height)
    for i, one in enumerate(shapes):
        for other in shapes[:i]:
            way = math.hypot((one.x - other.x) * width, (one.y - other.y) * height)
            if way < 1.3 * short * (one.radius + other.radius) or one.place == other.place:
                return False
            # Radii that hardly differ are not compared.
            if 1.04 < max(one.radius, other.radius) / min(one.radius, other.radius) < 1.2:
                return False
    return True


def corners(shape: Shape, radius: float, at: Point) -> list[Point]:
    """Return the corners of a shape that has some, in pixels about ``at``."""
    if shape.kind == "square":
        spokes: list[tuple[float, float]] = [(1.2, 45 + 90 * i) for i in range(4)]
    elif shape.kind == "triangle":
        spokes = [(1.0, 120 * i) for i in range(3)]
    elif shape.kind == "star":
        spokes = [(1.0 if i % 2 == 0 else 0.42, 36 * i) for i in range(10)]
    else:
        arm = math.degrees(math.atan2(1, 3))
        inner = math.sqrt(2) / 3
        spokes = [(length, 90 * i + a) for i in range(4) for length, a in ((1, -arm), (1, arm), (inner, 45))]
    turned = [(length * radius, math.radians(degrees + shape.angle_deg)) for length, degrees in spokes]
    return [(at[0] + length * math.sin(angle), at[1] - length * math.cos(angle)) for length, angle in turned]


def _parts(scene: Scene) -> list[tuple[Shape, float, Point]]:
    short = min(scene.width, scene.height)
    return [(s, s.radius * short, (s.x * scene.width, s.y * scene.height)) for s in scene.shapes]


def _code(rgb: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def by_svg(scenes: Sequence[Scene]) -> list[Image.Image]:
    """Draw SVG files with resvg."""
    resvg: Any = import_module("resvg_py")
    return [Image.open(BytesIO(bytes(resvg.svg_to_bytes(svg_string=svg(scene))))).convert("RGB") for scene in scenes]


def svg(scene: Scene) -> str:
    """Write a scene as SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{scene.width}" height="{scene.height}">',
        f'<rect width="100%" height="100%" fill="{_code(scene.tint)}"/>',
    ]
    for shape, radius, (x, y) in _parts(scene):
        line = shape.stroke * radius
        look = f'fill="{_code(shape.tint)}"'
        if line:
            look = f'fill="none" stroke="{_code(shape.tint)}" stroke-width="{line:.1f}"'
        if shape.kind == "circle":
            lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {look}/>')
        elif shape.kind == "ring":
            ring = f'fill="none" stroke="{_code(shape.tint)}" stroke-width="{0.3 * radius:.1f}"'
            lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{0.85 * radius:.1f}" {ring}/>')
        else:
            points = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners(shape, radius, (x, y)))
            lines.append(f'<polygon points="{points}" {look}/>')
    return "\n".join([*lines, "</svg>"])


def by_cairo(scenes: Sequence[Scene]) -> list[Image.Image]:
    """Draw with Cairo."""
    cairo: Any = import_module("cairocffi")
    images = []
    for scene in scenes:
        surface = cairo.ImageSurface(cairo.FORMAT_RGB24, scene.width, scene.height)
        pen = cairo.Context(surface)
        pen.set_source_rgb(*(level / 255 for level in scene.tint))
        pen.paint()
        for shape, radius, at in _parts(scene):
            pen.set_source_rgb(*(level / 255 for level in shape.tint))
            if shape.kind in ("circle", "ring"):
                pen.arc(*at, radius * (0.8 if shape.kind == "ring" else 1.0), 0, 2 * math.pi)
            else:
                for point in corners(shape, radius, at):
                    pen.line_to(*point)
                pen.close_path()
            pen.set_line_width(0.35 * radius)
            pen.stroke() if shape.kind == "ring" else pen.fill()
        pixels = np.frombuffer(bytes(surface.get_data()), np.uint8).reshape(scene.height, surface.get_stride() // 4, 4)
        images.append(Image.fromarray(np.ascontiguousarray(pixels[:, : scene.width, 2::-1])))
    return images


def by_matplotlib(scenes: Sequence[Scene]) -> list[Image.Image]:
    """Draw patches on axes without ticks."""
    figures: Any = import_module("matplotlib.figure")
    patches: Any = import_module("matplotlib.patches")
    images = []
    for scene in scenes:
        figure = figures.Figure((scene.width / 100, scene.height / 100), dpi=100, facecolor=_code(scene.tint))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
        axes.axis("off")
        for shape, radius, at in _parts(scene):
            if shape.kind == "circle":
                axes.add_patch(patches.Circle(at, radius, color=_code(shape.tint)))
            elif shape.kind == "ring":
                axes.add_patch(patches.Annulus(at, radius, 0.3 * radius, color=_code(shape.tint)))
            else:
                axes.add_patch(patches.Polygon(corners(shape, radius, at), color=_code(shape.tint), linewidth=0))
        file = BytesIO()
        figure.savefig(file, format="png", facecolor=figure.get_facecolor())
        images.append(Image.open(file).convert("RGB"))
    return images


def by_glyphs(scenes: Sequence[Scene]) -> list[Image.Image]:
    """Write the characters ● ■ ▲ ★ ✚ ○ in fonts that training does not use."""
    images = []
    for number, scene in enumerate(scenes):
        image = Image.new("RGB", (scene.width, scene.height), scene.tint)
        pen, name = ImageDraw.Draw(image), _FREE_FONTS[number % len(_FREE_FONTS)]
        for shape, radius, at in _parts(scene):
            font = _free_font(name, 200)
            box = font.getbbox(_SIGNS[shape.kind])
            size = 200 * 2 * radius / max(box[2] - box[0], box[3] - box[1])
            font = _free_font(name, max(4, round(size)))
            left, top, right, bottom = font.getbbox(_SIGNS[shape.kind])
            corner = (at[0] - (left + right) / 2, at[1] - (top + bottom) / 2)
            pen.text(corner, _SIGNS[shape.kind], shape.tint, font)
        images.append(image)
    return images


def _free_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(name, size)
    except OSError as error:
        raise VitaDemoError(
            f"the font {name} is missing; the exam needs it: apt-get install fonts-freefont-ttf fonts-symbola"
        ) from error


_PAGE_PX, _PER_PAGE = 1100, 24


def by_html(scenes: Sequence[Scene]) -> list[Image.Image]:
    """Let a browser show divisions with CSS, and take pictures of the pages."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise VitaDemoError("no browser; the exam needs one: apt-get install chromium")
    images: list[Image.Image] = []
    for start in range(0, len(scenes), _PER_PAGE):
        some = scenes[start : start + _PER_PAGE]
        tops = np.cumsum([0, *(scene.height for scene in some)])
        body = "".join(_division(scene, int(top)) for scene, top in zip(some, tops, strict=False))
        with tempfile.TemporaryDirectory() as folder:
            page, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
            page.write_text(f"<body style='margin:0'>{body}</body>", encoding="utf-8")
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={shot}"]
            options.append(f"--window-size={_PAGE_PX},{tops[-1]}")
            subprocess.run([browser, *options, page.as_uri()], capture_output=True, check=True, timeout=120)
            whole = Image.open(shot).convert("RGB")
            images += [
                whole.crop((0, int(top), scene.width, int(top) + scene.height))
                for scene, top in zip(some, tops, strict=False)
            ]
    return images


def _division(scene: Scene, top: int) -> str:
    place = f"position:absolute;left:0;top:{top}px;width:{scene.width}px;height:{scene.height}px"
    inner = []
    for shape, radius, (x, y) in _parts(scene):
        box = f"position:absolute;left:{x - radius:.1f}px;top:{y - radius:.1f}px;width:{2 * radius:.1f}px;height:{2 * radius:.1f}px"  # noqa: E501
        colour = f"background:{_code(shape.tint)}"
        if shape.kind == "circle":
            look = f"{colour};border-radius:50%"
        elif shape.kind == "ring":
            look = f"box-sizing:border-box;border:{0.28 * radius:.1f}px solid {_code(shape.tint)};border-radius:50%"
        else:
            points = corners(replace(shape, radius=1.0), 50 if shape.kind != "square" else 41, (50, 50))
            look = f"{colour};clip-path:polygon({','.join(f'{px:.1f}% {py:.1f}%' for px, py in points)})"
        inner.append(f"<div style='{box};{look}'></div>")
    return f"<div style='{place};background:{_code(scene.tint)};overflow:hidden'>{''.join(inner)}</div>"


def as_photographs(scenes: Sequence[Scene], rng: Random) -> list[Image.Image]:
    """Make drawings look like photographs of paper: grain, light, perspective, blur, and JPEG of quality 40."""
    images: list[Image.Image] = []
    for image in by_cairo(scenes):
        width, height = image.size
        pixels = np.asarray(image, np.float32)
        light = np.linspace(1.0, rng.uniform(0.75, 0.95), width)[None, :, None]
        grain = rng.normal(0, 4, (height, width, 1))
        paper = Image.fromarray(np.clip(pixels * light + grain, 0, 255).astype(np.uint8))
        shift = rng.uniform(0, 0.04, (4, 2)) * ((-1, -1), (-1, 1), (1, 1), (1, -1)) * (width, height)
        quad = np.array([(0, 0), (0, height), (width, height), (width, 0)]) + shift
        seen = paper.transform(
            paper.size,
            Image.Transform.QUAD,
            quad.flatten().tolist(),
            Image.Resampling.BICUBIC,
            fillcolor=scenes[len(images)].tint,
        )
        file = BytesIO()
        seen.filter(ImageFilter.GaussianBlur(min(seen.size) / 350)).save(file, "JPEG", quality=40)
        images.append(Image.open(file).convert("RGB"))
    return images


Renderer = Callable[[Sequence[Scene]], list[Image.Image]]
RENDERERS: dict[str, Renderer] = {
    "SVG": by_svg, "Cairo": by_cairo, "matplotlib": by_matplotlib, "HTML": by_html, "font glyphs": by_glyphs,
}  # fmt: skip


def drawings(rng: Random, renderer: str, count: int) -> list[Drawing]:
    """Draw ``count`` pictures by one of ``RENDERERS``; font glyphs stand upright."""
    made = [random_scene_of(rng) for _ in range(count)]
    if renderer == "font glyphs":
        made = [
            (replace(scene, shapes=tuple(replace(shape, angle_deg=0.0) for shape in scene.shapes)), names)
            for scene, names in made
        ]
    images = RENDERERS[renderer]([scene for scene, _ in made])
    return [Drawing(scene, names, [image]) for (scene, names), image in zip(made, images, strict=True)]


def photographs(rng: Random, count: int) -> list[Drawing]:
    """Draw pictures that look like photographs of paper."""
    made = [random_scene_of(rng) for _ in range(count)]
    images = as_photographs([scene for scene, _ in made], rng)
    return [Drawing(scene, names, [image]) for (scene, names), image in zip(made, images, strict=True)]


def plain_pairs(rng: Random, count: int) -> list[Drawing]:
    """Draw two flat shapes, one on the left and one on the right, on 448 by 448 pixels of a light grey."""
    made = []
    for _ in range(count):
        scene, names = random_scene_of(rng, 2, (448, 448), "#ebebeb")
        left, right = scene.shapes
        radii = float(rng.uniform(0.12, 0.2)), float(rng.uniform(0.12, 0.2))
        if max(radii) / min(radii) < 1.2:
            radii = (radii[0], radii[0])
        shapes = (
            replace(left, x=0.25, y=0.5, radius=radii[0], angle_deg=0.0),
            replace(right, x=0.75, y=0.5, radius=radii[1], angle_deg=0.0),
        )
        made.append((replace(scene, shapes=shapes), names))
    images = by_svg([scene for scene, _ in made])
    return [Drawing(scene, names, [image]) for (scene, names), image in zip(made, images, strict=True)]


def films(rng: Random, count: int) -> list[Drawing]:
    """Film shapes to which something happens: Cairo's frames, encoded by ffmpeg and read as in use."""
    from vita_demo.preprocess.video import load_frames

    if shutil.which("ffmpeg") is None:
        raise VitaDemoError("no ffmpeg; the exam needs it: apt-get install ffmpeg")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            drawing, frames = _film(rng)
            path = Path(folder) / f"{number}.mp4"
            _encode(frames, path)
            found.append(replace(drawing, images=list(load_frames(path).images)))
            path.unlink()
    return found


_FILM_SIZES_PX = ((640, 360), (320, 240), (640, 480), (480, 480))
_FPS = 8


def _encode(frames: Sequence[Image.Image], path: Path) -> None:
    width, height = frames[0].size
    options = ["-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{_FPS}"]
    raw = b"".join(frame.tobytes() for frame in frames)
    subprocess.run(
        ["ffmpeg", *options, "-i", "-", "-pix_fmt", "yuv420p", "-preset", "veryfast", str(path)], input=raw, check=True
    )


def _film(rng: Random) -> tuple[Drawing, list[Image.Image]]:
    """Draw a clip of 3 to 5 seconds of one shape, sometimes with another that stays."""
    size = _FILM_SIZES_PX[int(rng.integers(len(_FILM_SIZES_PX)))]
    count = int(rng.integers(3, 6)) * _FPS
    times = np.arange(count) / (count - 1)
    action = ("moves", "moves", "grows", "shrinks", "appears", "disappears", "changes")[int(rng.integers(7))]
    scene, names = random_scene_of(rng, 1, size)
    shape = replace(scene.shapes[0], radius=float(rng.uniform(0.1, 0.17)), angle_deg=0.0, x=0.5, y=0.5)
    noun = f"{shape.colour} {shape.kind}"
    if action == "moves":
        way = ("left", "right", "up", "down")[int(rng.integers(4))]
        lane, far = float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.2, 0.3))
        places = far + (1 - 2 * far) * (times if way in ("right", "down") else 1 - times)
        at = [(float(p), lane) if way in ("left", "right") else (lane, float(p)) for p in places]
        states: list[Shape | None] = [replace(shape, x=x, y=y) for x, y in at]
        happens: tuple[str, ...] = (noun, "moves", way)
    elif action in ("grows", "shrinks"):
        factors = 1 + float(rng.uniform(0.7, 1.3)) * (times if action == "grows" else 1 - times)
        states, happens = [replace(shape, radius=shape.radius * float(f)) for f in factors], (noun, action)
    elif action == "changes":
        other = [
            c for c in COLOURS if c != shape.colour and _seen_on(c, scene.tint) and {c, shape.colour} not in _ALIKE
        ]
        new = other[int(rng.integers(len(other)))]
        after = replace(shape, colour=new, tint=rgb_of(_seen_on(new, scene.tint)[0]))
        cut = float(rng.uniform(0.25, 0.7))
        states = [shape if time < cut else after for time in times]
        happens = (shape.kind, "changes colour", shape.colour, new)
    else:
        cut = float(rng.uniform(0.25, 0.7))
        states = [shape if (time >= cut) == (action == "appears") else None for time in times]
        happens = (noun, action)
    scenes = [replace(scene, shapes=() if state is None else (state,)) for state in states]
    return Drawing(replace(scene, shapes=(shape,)), names, happens=happens), by_cairo(scenes)


_ALIKE = ({"red", "orange"}, {"orange", "yellow"}, {"blue", "purple"}, {"black", "purple"}, {"black", "blue"})


def no_scene(rng: Random) -> tuple[str, Image.Image]:
    """Draw an icon or a word in fonts that training does not use, or cut out a photograph that it has not seen."""
    width, height = SIZES_PX[int(rng.integers(len(SIZES_PX)))]
    chance = rng.random()
    if chance < 0.3:
        name = HELD_OUT_PHOTOGRAPHS[int(rng.integers(len(HELD_OUT_PHOTOGRAPHS)))]
        return "photograph", random_crop(rng, min(width, height), (name,)).resize((width, height))
    ground = rgb_of(GROUNDS[int(rng.integers(len(GROUNDS)))][0])
    ink = (0, 0, 0) if sum(ground) > 380 else (255, 255, 255)
    image = Image.new("RGB", (width, height), ground)
    if chance < 0.65:
        kind, text = "icon", _ICONS[int(rng.integers(len(_ICONS)))]
        font = _free_font(_FREE_FONTS[-1], int(height * rng.uniform(0.15, 0.6)))
    else:
        kind, text = "words", _WORDS[int(rng.integers(len(_WORDS)))]
        font = _free_font(_FREE_FONTS[int(rng.integers(2))], int(height * rng.uniform(0.06, 0.16)))
    at = (rng.uniform(0.05, 0.5) * width, rng.uniform(0.05, 0.4) * height)
    ImageDraw.Draw(image).text(at, text, ink, font)
    return kind, image


_ICONS = "☕☁⚽⛄⛵⛺✆✌❤☃♨⚘⛔🌍🍎🎁🏠🐟🐱🔑🔔🚗🚲"
_WORDS = (
    "Welcome",
    "No entry",
    "Lunch at 12",
    "Room 4",
    "Thank you all",
    "Bonjour",
    "Sale today",
    "Keep quiet",
    "Page 17",
)
