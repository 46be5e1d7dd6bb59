"""Clips in which one thing happens to one shape of a scene: what happens, the frames, and a video file of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from tools.train_vita_tiny.painting import draw
from tools.train_vita_tiny.scenes import COLOURS, Scene, Shape, in_order, random_scene, random_tints
from vita_demo.preprocess.video import MIN_FRAMES, thin

ACTIONS = ("moves", "grows", "shrinks", "appears", "disappears", "changes colour")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # (x, y)
MAX_SHAPES = 3
MAX_BYTES = 200_000

_SIZES_PX = (
    (320, 180), (320, 180), (480, 270), (320, 240), (320, 240), (400, 300), (256, 256), (256, 256), (224, 224),
    (180, 320), (240, 320),
)  # fmt: skip
_SMALLEST = 0.07  # radius, of the video's short side
_LEAST_WAY = 0.22  # of width or height, between the first sampled frame and the last
_LEAST_GROWTH = 1.3
_DRIFT = 0.15  # how far a way may lead aside, of its length
_CONFUSABLE = ({"red", "orange"}, {"orange", "yellow"}, {"blue", "purple"}, {"black", "purple"}, {"black", "blue"})


@dataclass(frozen=True)
class Event:
    """What happens.

    Attributes:
        action: one of ``ACTIONS``.
        direction: one of ``DIRECTIONS`` when the shape moves, else None.
        colour: the new colour when the shape changes colour, else None.
    """

    action: str
    direction: str | None = None
    colour: str | None = None


@dataclass(frozen=True)
class Clip:
    """A scene and what happens in it.

    Attributes:
        start: the first frame's scene; without shapes when its only one appears.
        event: what happens.
        before: the shape in ``start`` that it happens to; None when it appears.
        after: the same shape when it is over; None when it disappears.
        begins: when the event begins, 0 to 1 of the clip.
        ends: when it is over; 1 where it goes on until the clip ends.
        seconds: how long the clip is.
    """

    start: Scene
    event: Event
    before: Shape | None
    after: Shape | None
    begins: float
    ends: float
    seconds: float

    @property
    def times(self) -> list[float]:
        """When it is looked at, 0 to 1 of the clip: once a second, and four times at least."""
        every = [second / self.seconds for second in range(math.ceil(self.seconds))]
        return [every[i] for i in thin(range(len(every)), MIN_FRAMES, 16)]

    @property
    def end(self) -> Scene:
        """The scene of the last frame that is looked at."""
        return scene_at(self, self.times[-1])


def random_clip(rng: np.random.Generator, action: str | None = None) -> Clip:
    """Draw a clip of one to three shapes; no other shape looks like the one that ``action`` happens to."""
    action = ACTIONS[int(rng.integers(len(ACTIONS)))] if action is None else action
    while True:
        size = _SIZES_PX[int(rng.integers(len(_SIZES_PX)))]
        scene = random_scene(rng, int(rng.integers(1, MAX_SHAPES + 1)), size)
        if min(shape.radius for shape in scene.shapes) < _SMALLEST:
            continue
        shape = scene.shapes[int(rng.integers(len(scene.shapes)))]
        clip = _with_event(rng, scene, shape, action)
        if clip is not None and _is_unique(clip):
            return clip


def scene_at(clip: Clip, time: float) -> Scene:
    """Return the scene at ``time``, 0 to 1 of the clip; its shapes are in reading order of their places."""
    progress = min(1.0, max(0.0, (time - clip.begins) / (clip.ends - clip.begins)))
    others = tuple(shape for shape in clip.start.shapes if shape is not clip.before)
    now = _between(clip.before, clip.after, progress)
    shapes = others if now is None else (*others, now)
    return replace(clip.start, shapes=in_order(shapes))


def padded(scene: Scene) -> Scene:
    """Return a scene as it is in the square that a video's frame is padded to."""
    side = max(scene.width, scene.height)
    wide, high = scene.width / side, scene.height / side
    shapes = [
        replace(
            shape, x=0.5 + (shape.x - 0.5) * wide, y=0.5 + (shape.y - 0.5) * high, radius=shape.radius * min(wide, high)
        )
        for shape in scene.shapes
    ]
    return replace(scene, shapes=in_order(shapes), width=side, height=side)


def frames(clip: Clip) -> list[Image.Image]:
    """Draw the frames that are looked at."""
    return [draw(scene_at(clip, time), frame=number) for number, time in enumerate(clip.times)]


def write_video(clip: Clip, path: Path, fps: int = 12) -> None:
    """Encode the clip as H.264 in at most 200 kB.

    Raises:
        ValueError: when the size cannot be kept.
    """
    count = round(clip.seconds * fps)
    images = [draw(scene_at(clip, number / count), frame=number) for number in range(count)]
    for quality in range(23, 48, 4):
        _encode(images, path, fps, quality)
        if path.stat().st_size <= MAX_BYTES:
            return
    raise ValueError(f"{path} takes {path.stat().st_size} bytes, more than {MAX_BYTES}; ask for fewer seconds")


def _encode(images: list[Image.Image], path: Path, fps: int, quality: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(quality), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *images[0].size, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def _with_event(rng: np.random.Generator, scene: Scene, shape: Shape, action: str) -> Clip | None:
    """Let ``action`` happen to one shape of ``scene``; None when that shape cannot do it there."""
    seconds = float(rng.uniform(2.2, 6)) if rng.random() < 0.85 else float(rng.uniform(6, 12))
    last = (math.ceil(seconds) - 1) / seconds
    if action in ("appears", "disappears", "changes colour"):
        sudden = float(rng.uniform(0.08, 0.9)) * last
        over = min(sudden + (0.02 if action != "changes colour" else float(rng.uniform(0.02, 0.3))), last)
        return _changed(rng, scene, shape, action, (sudden, over, seconds))
    begins = float(rng.uniform(0, 0.25)) if rng.random() < 0.5 else 0.0
    ends = float(rng.uniform(0.6, 1)) if rng.random() < 0.4 else 1.0
    seen = (min(last, ends) - begins) / (ends - begins)
    if action == "moves":
        return _moving(rng, scene, shape, seen, (begins, ends, seconds))
    growth = float(rng.uniform(_LEAST_GROWTH, 2.6)) ** (1 if action == "grows" else -1)
    after = replace(shape, radius=shape.radius * growth)
    at_last = shape.radius + (after.radius - shape.radius) * seen
    if not max(at_last / shape.radius, shape.radius / at_last) >= _LEAST_GROWTH or after.radius < 0.8 * _SMALLEST:
        return None
    if not _is_free(scene, shape, after):
        return None
    return Clip(scene, Event(action), shape, after, begins, ends, seconds)


def _changed(
    rng: np.random.Generator, scene: Scene, shape: Shape, action: str, times: tuple[float, float, float]
) -> Clip | None:
    """Let a shape come, go or change its colour."""
    if action == "appears":
        rest = tuple(other for other in scene.shapes if other is not shape)
        return Clip(replace(scene, shapes=rest), Event(action), None, shape, *times)
    if action == "disappears":
        return Clip(scene, Event(action), shape, None, *times)
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    tints = random_tints(rng, [colour], scene.tint, bool(shape.stroke))
    if tints is None or not _differ(colour, shape.colour):
        return None
    return Clip(scene, Event(action, colour=colour), shape, replace(shape, colour=colour, tint=tints[0]), *times)


def _moving(
    rng: np.random.Generator, scene: Scene, shape: Shape, seen: float, times: tuple[float, float, float]
) -> Clip | None:
    """Let one shape glide along any lane to anywhere that it can reach; ``seen`` is the share of its way in view."""
    direction = list(DIRECTIONS)[int(rng.integers(len(DIRECTIONS)))]
    across, down = DIRECTIONS[direction]
    way = float(rng.uniform(_LEAST_WAY / seen, 0.8))
    drift = float(rng.uniform(-_DRIFT, _DRIFT)) * way * float(rng.integers(2))
    after = replace(shape, x=shape.x + way * across + drift * abs(down), y=shape.y + way * down + drift * abs(across))
    if seen * way < _LEAST_WAY or not all(
        _is_free(scene, shape, _mixed(shape, after, part)) for part in np.linspace(0.2, 1, 5)
    ):
        return None
    return Clip(scene, Event("moves", direction=direction), shape, after, *times)


def _is_free(scene: Scene, shape: Shape, now: Shape) -> bool:
    """Tell whether a shape, changed to ``now``, is inside the picture and meets no other."""
    short = min(scene.width, scene.height)
    wide, high = scene.width / short, scene.height / short
    if min(now.x * wide, (1 - now.x) * wide, now.y * high, (1 - now.y) * high) < now.reach:
        return False
    others: Sequence[Shape] = [other for other in scene.shapes if other is not shape]
    pairs = combinations([now, *others], 2) if others else ()
    return all(
        math.hypot((one.x - other.x) * wide, (one.y - other.y) * high) > one.reach + other.reach
        for one, other in pairs
        if one is now
    )


def _between(before: Shape | None, after: Shape | None, progress: float) -> Shape | None:
    """Return the shape on its way from ``before`` to ``after``; it is there, or not, from halfway on."""
    if before is None or after is None:
        return before if progress < 0.5 else after
    return _mixed(before, after, progress)


def _mixed(before: Shape, after: Shape, progress: float) -> Shape:
    red, green, blue = (round(_mix(old, new, progress)) for old, new in zip(before.tint, after.tint, strict=True))
    return replace(
        before if progress < 0.5 else after,
        x=_mix(before.x, after.x, progress),
        y=_mix(before.y, after.y, progress),
        radius=_mix(before.radius, after.radius, progress),
        tint=(red, green, blue),
    )


def _mix(before: float, after: float, progress: float) -> float:
    # Exact at both ends, unlike before + (after - before) * progress.
    return before * (1 - progress) + after * progress


def _differ(colour: str, other: str) -> bool:
    return colour != other and {colour, other} not in _CONFUSABLE


def _is_unique(clip: Clip) -> bool:
    """Tell whether the event's shape differs from all others in kind or colour, at its start and at its end."""
    others = {(shape.kind, shape.colour) for shape in clip.start.shapes if shape is not clip.before}
    own = {(shape.kind, shape.colour) for shape in (clip.before, clip.after) if shape is not None}
    return not others & own
