"""One factor at a time: from a plain picture that the model understands, where does it stop to?

Two flat shapes by resvg, of which one thing is changed; and the result as a chart for the model card.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tools.train_vita_tiny.asking import Random, ask, word
from tools.train_vita_tiny.evaluation import Candidate
from tools.train_vita_tiny.judging import is_right
from tools.train_vita_tiny.scenes import KINDS, Scene, Shape
from tools.train_vita_tiny.strangers import Drawing, by_svg

_TINTS = {"red": (220, 20, 60), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 215, 0)}
_INTENTS = ("describe", "count", "colour_of", "kind_of", "is_there")
_SIDE_PX = 360


@dataclass(frozen=True)
class Base:
    """The plain picture, a field of which is changed at a time.

    Attributes:
        across: how far the shapes' centres are from the middle, of the width.
        down: where they are, of the height.
        radius: of the picture's short side.
        turn_deg: of what has corners.
        level: grey level of the ground.
        stroke: width of the line, of the radius; 0 where they are filled.
        width_px: of the picture, 360 high.
    """

    across: float = 0.25
    down: float = 0.5
    radius: float = 0.14
    turn_deg: float = 0.0
    level: int = 235
    stroke: float = 0.0
    width_px: int = _SIDE_PX


FACTORS: Mapping[str, tuple[str, Sequence[float]]] = {
    "distance from the middle": ("across", (0.17, 0.2, 0.25, 0.3, 0.34)),
    "height in the picture": ("down", (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
    "radius": ("radius", (0.04, 0.05, 0.06, 0.08, 0.1, 0.14, 0.18, 0.22)),
    "turn in degrees": ("turn_deg", (0, 10, 20, 30, 45, 60, 90)),
    "grey level of the ground": ("level", (0, 40, 80, 128, 170, 200, 235, 255)),
    "width of the line": ("stroke", (0.08, 0.14, 0.2, 0.3)),
    "width in pixels": ("width_px", (180, 270, 360, 480, 640)),
}


def measure(candidate: Candidate, rng: Random, count: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Return for each factor the shares of right answers at its settings, ``count`` questions each."""
    shares: dict[str, list[float]] = {}
    for name, (field, values) in FACTORS.items():
        changes: list[dict[str, Any]] = [{field: value} for value in values]
        settings = [replace(Base(), **change) for change in changes]
        shares[name] = [float(np.mean(list(_answers(candidate, rng, setting, count)))) for setting in settings]
        told = ", ".join(f"{value:g}: {share:.0%}" for value, share in zip(values, shares[name], strict=True))
        say(f"{name}: {told}")
    return shares


def _answers(candidate: Candidate, rng: Random, setting: Base, count: int) -> Iterator[bool]:
    ground = (int(setting.level),) * 3
    scenes = [_scene(rng, setting) for _ in range(count)]
    for scene, image in zip(scenes, by_svg(scenes), strict=True):
        drawing = Drawing(replace(scene, tint=ground), (), [image])
        query = replace(ask(scene, rng, _INTENTS), language="en")
        answer = candidate.answer(word(query, rng), "image", [image], None)
        yield is_right(query, drawing, answer[1:])


def _scene(rng: Random, setting: Base) -> Scene:
    """Draw two shapes of different kinds and colours; lines have no circles, which would be rings."""
    known = KINDS[1:-1] if setting.stroke else KINDS
    kinds = [known[i] for i in rng.permutation(len(known))[:2]]
    colours = [list(_TINTS)[i] for i in rng.permutation(len(_TINTS))[:2]]
    shapes = [
        Shape(
            kind, colour, 0.5 + side * setting.across, setting.down, setting.radius, setting.turn_deg, _TINTS[colour],
            stroke=setting.stroke,
        )
        for kind, colour, side in zip(kinds, colours, (-1, 1), strict=True)
    ]  # fmt: skip
    level = int(setting.level)
    return Scene(tuple(shapes), "white", (level, level, level), int(setting.width_px), _SIDE_PX, 0)


def chart(shares: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw one small chart a factor."""
    figures: Any = import_module("matplotlib.figure")
    figure = figures.Figure((10, 4.6), layout="constrained")
    grid = figure.subplots(2, 4, sharey=True).flatten()
    for axes, (name, right) in zip(grid, shares.items(), strict=False):
        axes.plot(FACTORS[name][1], [100 * share for share in right], marker="o", markersize=3)
        axes.set(title=name, ylim=(0, 104))
        axes.title.set_fontsize(9)
        axes.tick_params(labelsize=7)
    for axes in grid[len(shares) :]:
        axes.axis("off")
    grid[0].set_ylabel("right, %")
    figure.savefig(path)
