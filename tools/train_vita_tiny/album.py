"""The pictures of the training set, drawn once and kept as one array on disk with what they show."""

import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.train_vita_tiny.batching import alike
from tools.train_vita_tiny.clips import frames, padded, random_clip
from tools.train_vita_tiny.layout import GRID, RELEASED_SETTINGS, TILE
from tools.train_vita_tiny.outside import FAMILIES, HELD_OUT_FAMILIES, random_outside
from tools.train_vita_tiny.painting import draw
from tools.train_vita_tiny.queries import NOTHING, OUTSIDE, View
from tools.train_vita_tiny.scenes import Scene, cell_of, random_crowd, random_scene, random_size
from vita_demo.checkpoint.config import VisionConfig
from vita_demo.preprocess.image import choose_grid, fit_frame, tile_image

Random = np.random.Generator
Tiles = NDArray[np.uint8]
_MEAN_COLOUR = VisionConfig.from_folder(RELEASED_SETTINGS / "InternViT-300M-448px").mean_colour
_EMPTY_SHARE = 0.03
_PART = 250


@dataclass(frozen=True)
class Sight:
    """What the model is shown: a view and where its tiles lie.

    Attributes:
        view: what it is.
        modality: "image", "video" or "text", whose system prompt goes with it; "frame" where only the eyes learn.
        first: number of its first tile.
        count: how many tiles it has.
    """

    view: View
    modality: str
    first: int
    count: int


@dataclass(frozen=True)
class Album:
    """Sights and their tiles [N, S, S, 3]."""

    sights: tuple[Sight, ...]
    tiles: Tiles

    @classmethod
    def open(cls, folder: Path, name: str) -> "Album":
        """Read an album; its tiles stay on disk until they are looked at."""
        sights = pickle.loads((folder / f"{name}.pickle").read_bytes())
        return cls(tuple(sights), np.memmap(folder / f"{name}.tiles", np.uint8, "r").reshape(-1, TILE, TILE, 3))


def some_scene(rng: Random) -> Scene:
    """Draw a scene; a few are empty."""
    scene = random_scene(rng)
    return replace(scene, shapes=()) if rng.random() < _EMPTY_SHARE else scene


def a_scene(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture and keep its thumbnail alone, which shows all of it; a few are empty."""
    return _thumbnail(some_scene(rng))


def a_crowd(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture in which several things are alike and keep its thumbnail."""
    return _thumbnail(random_crowd(rng))


def _thumbnail(scene: Scene) -> tuple[View, str, Tiles]:
    return scene, "image", np.asarray(draw(scene).resize((TILE, TILE)))[None]


def a_large_scene(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture and cut it into tiles as in use: mostly 3 to 13."""
    return _cut(some_scene(rng))


def a_large_crowd(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture in which several things are alike and cut it into tiles."""
    return _cut(random_crowd(rng))


def _cut(scene: Scene) -> tuple[View, str, Tiles]:
    return scene, "image", _tiles(draw(scene))


def _tiles(image: Image.Image) -> Tiles:
    return tile_image(image, TILE, choose_grid(*image.size, TILE))


def a_frame(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture as a video's frame, padded to a square: for the eyes alone."""
    while True:
        scene = some_scene(rng)
        seen = padded(scene)
        if len({cell_of(shape.x, shape.y, GRID) for shape in seen.shapes}) == len(seen.shapes):
            return seen, "frame", fit_frame(draw(scene), TILE, _MEAN_COLOUR)[None]


def a_clip(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a clip and look at it as in use: once a second, padded to a square."""
    clip = random_clip(rng)
    return clip, "video", np.stack([fit_frame(image, TILE, _MEAN_COLOUR) for image in frames(clip)])


def an_outside(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture that is no scene of shapes: one tile, many, or the frames of a still video."""
    kind, image = rng.random(), outside_image(rng)
    if kind < 0.5:
        return OUTSIDE, "image", np.asarray(image.resize((TILE, TILE)))[None]
    if kind < 0.9:
        return OUTSIDE, "image", _tiles(image)
    frame = fit_frame(image, TILE, _MEAN_COLOUR)
    return OUTSIDE, "video", np.repeat(frame[None], int(rng.integers(4, 7)), axis=0)


def outside_image(rng: Random, held_out: bool = False) -> Image.Image:
    """Draw a picture that is no scene, of any size; ``held_out`` ones are of the families kept from training."""
    width, height = random_size(rng)
    image = random_outside(rng, min(width, height), HELD_OUT_FAMILIES if held_out else FAMILIES)
    return image.resize((width, height)) if rng.random() < 0.5 else image


MAKERS: dict[str, Callable[[Random], tuple[View, str, Tiles]]] = {
    "scenes": a_scene, "large": a_large_scene, "clips": a_clip, "crowds": a_crowd, "large crowds": a_large_crowd,
    "outside": an_outside, "frames": a_frame,
}  # fmt: skip


def _draw_part(job: tuple[str, int, int, Path]) -> Path:
    """Draw some sights and leave them in a file of their own, unless it is there."""
    name, seed, count, path = job
    if not path.exists():
        rng = np.random.default_rng(seed)
        drawn = [MAKERS[name](rng) for _ in range(count)]
        sights = [(view, modality, len(tiles)) for view, modality, tiles in drawn]
        draft = path.with_suffix(".new")
        draft.write_bytes(pickle.dumps((sights, np.concatenate([tiles for *_, tiles in drawn]))))
        draft.replace(path)
    return path


def draw_album(folder: Path, name: str, count: int, seed: int, processes: int = 2) -> None:
    """Draw ``count`` sights of one kind and write them; the same seed draws the same.

    What an interrupted call has drawn is used again.
    """
    parts = folder / f"{name} parts"
    parts.mkdir(parents=True, exist_ok=True)
    starts = range(0, count, _PART)
    jobs = [(name, seed * 100_003 + start, min(_PART, count - start), parts / f"{start}.pickle") for start in starts]
    sights: list[Sight] = []
    first = 0
    with ProcessPoolExecutor(processes) as pool, (folder / f"{name}.tiles").open("wb") as file:
        for path in pool.map(_draw_part, jobs):
            drawn, tiles = pickle.loads(path.read_bytes())
            for view, modality, length in drawn:
                sights.append(Sight(view, modality, first, length))
                first += length
            file.write(np.ascontiguousarray(tiles).data)
    (folder / f"{name}.pickle").write_bytes(pickle.dumps(sights))
    shutil.rmtree(parts)


def no_sight(modality: str = "text") -> Sight:
    """Return what is seen without media."""
    return Sight(NOTHING, modality, 0, 0)


def batches(sights: Sequence[Sight], size: int, rng: Random) -> Iterator[list[Sight]]:
    """Yield batches of sights with equally many tiles, in random order, for ever."""
    return alike(sights, lambda sight: (sight.modality, sight.count), size, rng)
