"""Clips in which one thing happens to one shape of a scene: what happens, the frames, and a video file of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tools.train_vita_tiny.scenes import (
    PLACES,
    SIZES,
    Scene,
    Shape,
    allowed_colours,
    centre_of,
    draw,
    random_radius,
    random_scene,
    random_tint,
    within_cell,
)

ACTIONS = ("moves", "grows", "shrinks", "appears", "disappears", "changes colour")
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  # (rows, columns)
MAX_SHAPES = 3
MAX_BYTES = 200_000

_LONG_MOVES = 0.8
_CONFUSABLE = ({"red", "orange"}, {"orange", "yellow"}, {"blue", "purple"}, {"black", "purple"}, {"black", "blue"})


@dataclass(frozen=True)
class Event:
    """What happens.

    Attributes:
        action: one of ``ACTIONS``.
        shape: index of the shape it happens to, in ``Clip.end.shapes`` when it appears, else in ``Clip.start.shapes``.
        direction: one of ``DIRECTIONS`` when the shape moves, else None.
        colour: the new colour when the shape changes colour, else None.
    """

    action: str
    shape: int
    direction: str | None = None
    colour: str | None = None


@dataclass(frozen=True)
class Clip:
    """A scene and what happens in it.

    Attributes:
        start: the first frame's scene; without shapes when its only one appears.
        event: what happens.
        before: the shape in ``start`` that it happens to; None when it appears.
        after: the same shape in ``end``; None when it disappears.
        begins: when the event begins, 0 to 1 of the clip.
        ends: when it is over.
    """

    start: Scene
    event: Event
    before: Shape | None
    after: Shape | None
    begins: float
    ends: float

    @property
    def end(self) -> Scene:
        """The last frame's scene."""
        return scene_at(self, 1.0)


def random_clip(rng: np.random.Generator, action: str | None = None) -> Clip:
    """Draw a clip of one to three shapes; no other shape looks like the one that ``action`` happens to."""
    action = ACTIONS[int(rng.integers(len(ACTIONS)))] if action is None else action
    while True:
        scene = random_scene(rng, int(rng.integers(1, MAX_SHAPES + 1)))
        index = int(rng.integers(len(scene.shapes)))
        clip = _with_event(rng, scene, index, action)
        if clip is not None and _is_unique(clip):
            return clip


def scene_at(clip: Clip, time: float) -> Scene:
    """Return the scene at ``time``, 0 to 1; its shapes are in reading order of their places."""
    progress = min(1.0, max(0.0, (time - clip.begins) / (clip.ends - clip.begins)))
    others = tuple(shape for shape in clip.start.shapes if shape is not clip.before)
    now = _between(clip.before, clip.after, progress)
    shapes = others if now is None else (*others, now)
    return replace(clip.start, shapes=tuple(sorted(shapes, key=lambda shape: PLACES.index(shape.place))))


def frames(clip: Clip, count: int, width: int = 112, height: int = 112) -> list[Image.Image]:
    """Draw the clip at ``count`` times, uniformly from its start to its end; only the noise differs between equals."""
    return [
        draw(scene_at(clip, float(time)), width, height, frame)
        for frame, time in enumerate(np.linspace(0, 1, max(count, 2))[:count])
    ]


def write_video(clip: Clip, path: Path, seconds: int = 5, fps: int = 12, size: tuple[int, int] = (256, 256)) -> None:
    """Encode the clip as H.264 in at most 200 kB.

    All of it happens before the last second begins: one frame a second is what the model sees, and the last of
    those shows the end.

    Raises:
        ValueError: when the size cannot be kept.
    """
    moving = (seconds - 1) * fps
    images = [draw(scene_at(clip, min(1.0, number / moving)), *size, number) for number in range(seconds * fps)]
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


def _with_event(rng: np.random.Generator, scene: Scene, index: int, action: str) -> Clip | None:
    """Let ``action`` happen to one shape of ``scene``; None when that shape cannot do it there."""
    shape = scene.shapes[index]
    sudden = rng.uniform(0.37, 0.57)
    if action == "appears":
        rest = tuple(other for other in scene.shapes if other is not shape)
        return Clip(replace(scene, shapes=rest), Event(action, index), None, shape, sudden, sudden + 0.06)
    if action == "disappears":
        return Clip(scene, Event(action, index), shape, None, sudden, sudden + 0.06)
    if action == "changes colour":
        colours = [colour for colour in allowed_colours(scene.ground) if _differ(colour, shape.colour)]
        colour = colours[int(rng.integers(len(colours)))]
        after = replace(shape, colour=colour, tint=random_tint(rng, colour))
        return Clip(scene, Event(action, index, colour=colour), shape, after, sudden, sudden + 0.06)
    begins, ends = rng.uniform(0, 0.12), rng.uniform(0.88, 1)
    if action == "moves":
        return _moving(rng, scene, index, (begins, ends))
    number = SIZES.index(shape.size)
    after_or_none = _resized(rng, shape, SIZES[number + 1 :] if action == "grows" else SIZES[:number])
    if after_or_none is None:
        return None
    return Clip(scene, Event(action, index), shape, after_or_none, begins, ends)


def _moving(rng: np.random.Generator, scene: Scene, index: int, times: tuple[float, float]) -> Clip | None:
    """Let one shape glide to another cell of its row or column whose way is free."""
    shape = scene.shapes[index]
    ways = list(_free_ways(scene, shape))
    long_ways = [way for way in ways if way[2] > 1]
    if long_ways and rng.random() < _LONG_MOVES:
        ways = long_ways
    if not ways:
        return None
    direction, place, _ = ways[int(rng.integers(len(ways)))]
    (from_x, from_y), (to_x, to_y) = centre_of(shape.place), centre_of(place)
    after = replace(shape, place=place, x=shape.x + to_x - from_x, y=shape.y + to_y - from_y)
    return Clip(scene, Event("moves", index, direction=direction), shape, after, *times)


def _free_ways(scene: Scene, shape: Shape) -> Iterator[tuple[str, str, int]]:
    """Yield (direction, place, distance in cells) of each cell that the shape can reach."""
    taken = {other.place for other in scene.shapes}
    row, column = divmod(PLACES.index(shape.place), 3)
    for direction, (down, right) in DIRECTIONS.items():
        for distance in (1, 2):
            to_row, to_column = row + distance * down, column + distance * right
            if not (0 <= to_row < 3 and 0 <= to_column < 3) or PLACES[3 * to_row + to_column] in taken:
                break
            yield direction, PLACES[3 * to_row + to_column], distance


def _resized(rng: np.random.Generator, shape: Shape, sizes: tuple[str, ...]) -> Shape | None:
    """Give a shape one of ``sizes``, moved towards its cell's centre where it would leave the cell; None without."""
    if not sizes:
        return None
    size = sizes[int(rng.integers(len(sizes)))]
    radius = random_radius(rng, size)
    x, y = within_cell(shape.place, shape.x, shape.y, radius)
    return replace(shape, size=size, radius=radius, x=x, y=y)


def _between(before: Shape | None, after: Shape | None, progress: float) -> Shape | None:
    """Return the shape on its way from ``before`` to ``after``; it is there, or not, from halfway on."""
    if before is None or after is None:
        return before if progress < 0.5 else after
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
