"""Crops of the free photographs that scikit-image ships; its code is not imported."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vita_demo.errors import VitaDemoError

# All are public domain or CC0, as scikit-image's skimage/data/_fetchers.py says of each.
PHOTOGRAPHS = (
    "astronaut.png",  # public domain, NASA
    "camera.png",  # CC0, Lav Varshney
    "chelsea.png",  # a cat: CC0, Stefan van der Walt
    "grass.png",  # CC0, CC0Textures
    "gravel.png",  # CC0, CC0Textures
    "retina.jpg",  # CC0, Mikael Häggström
    "text.png",  # a page of handwriting: public domain
)
HELD_OUT_PHOTOGRAPHS = (
    "brick.png",  # CC0, CC0Textures
    "coffee.png",  # CC0, Rachel Michetti
    "hubble_deep_field.jpg",  # public domain, NASA
    "rocket.jpg",  # public domain, SpaceX
)


def random_crop(rng: np.random.Generator, size: int, names: tuple[str, ...]) -> Image.Image:
    """Cut a square out of one of the photographs, as RGB of ``size`` pixels a side, in light and colours of chance."""
    photograph = _load(names[int(rng.integers(len(names)))])
    width, height = photograph.size
    side = rng.uniform(0.35, 1) * min(width, height)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    crop = photograph.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    if rng.random() < 0.5:
        crop = ImageOps.mirror(crop)
    if rng.random() < 0.3:
        bands = crop.split()
        crop = Image.merge("RGB", [bands[int(number)] for number in rng.integers(0, 3, 3)])
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.9, 1.1, 3)
    return crop.point([min(255, round(level * factor)) for factor in gain for level in range(256)])


def folder() -> Path:
    """Find where the photographs lie.

    Raises:
        VitaDemoError: when scikit-image is not installed.
    """
    package = importlib.util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise VitaDemoError("photographs come with scikit-image, which is missing; run: pip install scikit-image")
    return Path(package.submodule_search_locations[0]) / "data"


@cache
def _load(name: str) -> Image.Image:
    """Read a photograph, half its size when it is large."""
    image = Image.open(folder() / name).convert("RGB")
    return image.reduce(max(1, min(image.size) // 250))
