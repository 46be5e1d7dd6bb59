"""The pictures of the training set, drawn once and kept as one array on disk with what they show."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.train_vita_tiny.batching import alike
from tools.train_vita_tiny.clips import random_clip, scene_at
from tools.train_vita_tiny.layout import RELEASED_SETTINGS, TILE
from tools.train_vita_tiny.outside import FAMILIES, HELD_OUT_FAMILIES, random_outside
from tools.train_vita_tiny.queries import NOTHING, OUTSIDE, View
from tools.train_vita_tiny.scenes import Scene, draw, random_crowd, random_scene
from vita_demo.checkpoint.config import VisionConfig
from vita_demo.preprocess.image import choose_grid, fit_frame, tile_image

Random = np.random.Generator
Tiles = NDArray[np.uint8]
_MEAN_COLOUR = VisionConfig.from_folder(RELEASED_SETTINGS / "InternViT-300M-448px").mean_colour
_EMPTY_SHARE = 0.03


@dataclass(frozen=True)
class Sight:
    """What the model is shown: a view and where its tiles lie.

    Attributes:
        view: what it is.
        modality: "image", "video" or "text", whose system prompt goes with it.
        first: number of its first tile.
        count: how many tiles it has.
    """

    view: View
    modality: str
    first: int
    count: int


@dataclass(frozen=True)
class Album:
    """Sights and their tiles [N, 120, 120, 3]."""

    sights: tuple[Sight, ...]
    tiles: Tiles

    @classmethod
    def open(cls, folder: Path, name: str) -> "Album":
        """Read an album; its tiles stay on disk until they are looked at."""
        sights = pickle.loads((folder / f"{name}.pickle").read_bytes())
        return cls(tuple(sights), np.load(folder / f"{name}.npy", mmap_mode="r"))


def _some_scene(rng: Random) -> Scene:
    scene = random_scene(rng)
    return replace(scene, shapes=()) if rng.random() < _EMPTY_SHARE else scene


def a_scene(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture of one tile; a few are empty."""
    return _small(_some_scene(rng))


def a_crowd(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture of one tile in which several things are alike."""
    return _small(random_crowd(rng))


def _small(scene: Scene) -> tuple[View, str, Tiles]:
    return scene, "image", np.asarray(draw(scene, TILE, TILE))[None]


def a_large_scene(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture of any size and shape, which is cut into 2 to 13 tiles."""
    return _large(_some_scene(rng), rng)


def a_large_crowd(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a picture of many tiles in which several things are alike."""
    return _large(random_crowd(rng), rng)


def _large(scene: Scene, rng: Random) -> tuple[View, str, Tiles]:
    long = int(rng.integers(170, 480))
    short = int(long * rng.choice([1.0, 0.75, 0.667, 0.5625, rng.uniform(0.5, 1.0)]))
    width, height = (long, short) if rng.random() < 0.75 else (short, long)
    return scene, "image", _tiles(draw(scene, width, height))


def _tiles(image: Image.Image) -> Tiles:
    return tile_image(image, TILE, choose_grid(*image.size, TILE))


def a_clip(rng: Random) -> tuple[View, str, Tiles]:
    """Draw a clip as 4 to 8 frames, rarely more."""
    clip = random_clip(rng)
    count = int(rng.integers(4, 9)) if rng.random() < 0.93 else int(rng.integers(9, 17))
    times = np.linspace(0, rng.uniform(max(0.8, min(clip.ends + 0.02, 1.0)), 1.0), count)
    images = [np.asarray(draw(scene_at(clip, float(at)), TILE, TILE, number)) for number, at in enumerate(times)]
    return clip, "video", np.stack(images)


def an_outside(rng: Random, held_out: bool = False) -> tuple[View, str, Tiles]:
    """Draw a picture that is no scene of shapes: one tile, many, or the frames of a still video."""
    kind, families = rng.random(), HELD_OUT_FAMILIES if held_out else FAMILIES
    image = random_outside(rng, TILE if kind < 0.6 else int(rng.integers(170, 400)), families)
    if kind < 0.9:
        return OUTSIDE, "image", _tiles(_stretched(image, rng) if kind >= 0.6 else image)
    frame = fit_frame(image, TILE, _MEAN_COLOUR)
    return OUTSIDE, "video", np.repeat(frame[None], int(rng.integers(4, 7)), axis=0)


def _stretched(image: Image.Image, rng: Random) -> Image.Image:
    width, height = image.size
    return image.resize((width, int(height * rng.uniform(0.6, 1.0)))) if rng.random() < 0.6 else image


MAKERS: dict[str, Callable[[Random], tuple[View, str, Tiles]]] = {
    "scenes": a_scene, "large": a_large_scene, "clips": a_clip, "crowds": a_crowd, "large crowds": a_large_crowd,
    "outside": an_outside,
}  # fmt: skip


def _draw_part(job: tuple[str, int, int]) -> list[tuple[View, str, Tiles]]:
    name, seed, count = job
    rng = np.random.default_rng(seed)
    return [MAKERS[name](rng) for _ in range(count)]


def draw_album(folder: Path, name: str, count: int, seed: int, processes: int = 2) -> None:
    """Draw ``count`` sights of one kind and write them; the same seed draws the same."""
    part = 250
    jobs = [(name, seed * 100_003 + start, min(part, count - start)) for start in range(0, count, part)]
    sights: list[Sight] = []
    tiles: list[Tiles] = []
    first = 0
    with ProcessPoolExecutor(processes) as pool:
        for results in pool.map(_draw_part, jobs):
            for view, modality, pixels in results:
                sights.append(Sight(view, modality, first, len(pixels)))
                first += len(pixels)
                tiles.append(pixels)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", np.concatenate(tiles))
    (folder / f"{name}.pickle").write_bytes(pickle.dumps(sights))


def no_sight(modality: str = "text") -> Sight:
    """Return what is seen without media."""
    return Sight(NOTHING, modality, 0, 0)


def batches(sights: Sequence[Sight], size: int, rng: Random) -> Iterator[list[Sight]]:
    """Yield batches of sights with equally many tiles, in random order, for ever."""
    return alike(sights, lambda sight: (sight.modality, sight.count), size, rng)
