"""The eyes' first lesson: vision encoder and projector learn to say of every position what is there.

It is what makes the rest quick: a language model that must find out by itself that pictures hold shapes, while the
encoder finds out what the language model looks for, needs many times the pictures.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.train_vita_tiny.album import Album
from tools.train_vita_tiny.calming import calm
from tools.train_vita_tiny.checkpoints import KEEP_SECONDS, resume, save
from tools.train_vita_tiny.compute import DEVICE, half_precision
from tools.train_vita_tiny.grounds import GROUNDS
from tools.train_vita_tiny.layout import GRID
from tools.train_vita_tiny.optimizers import Optimizers
from tools.train_vita_tiny.queries import View
from tools.train_vita_tiny.scenes import COLOURS, KINDS, PLACES, Scene, cell_of, place_of
from tools.train_vita_tiny.schedule import Schedule
from vita_demo.model.vita import VitaModel

# Radii are told apart in steps of a third.
_SMALLEST, _STEPS = 0.04, 8
# Name of each lesson and its number of answers; the last one of kind, colour, size and ground means that there is none.
LESSONS = {
    "kind": len(KINDS) + 1, "colour": len(COLOURS) + 1, "size": _STEPS + 1, "ground": len(GROUNDS) + 1,
    "place": len(PLACES),
}  # fmt: skip
# The least ease at first, and for which share of the lesson it falls.
_LARGE, _LARGE_FIRST = 0.12, 0.4
_WEIGHTS = (2.0, 1.0, 1.0, 0.3, 0.5)


def ease(view: View) -> float:
    """Return how easily kinds are told: by the radius of the smallest shape, half of it where it is a line."""
    radii = [shape.radius * (0.5 if shape.stroke else 1.0) for shape in view.shapes] if isinstance(view, Scene) else []
    return min(radii, default=1.0)


def size_step(radius: float) -> int:
    """Number the step that a radius, of the picture's short side, is in."""
    return min(_STEPS - 1, max(0, int(math.log(radius / _SMALLEST) / math.log(10) * _STEPS)))


def place_labels(scene: Scene | None) -> NDArray[np.int64]:
    """Say of each position of a tile which shape has its centre there, if any.

    Returns:
        [positions, 5]: kind, colour, size, ground and place; a picture that is no scene has the last answer
        everywhere, but for the place, which is that of the position's middle.
    """
    labels = np.array([count - 1 for count in LESSONS.values()])[None].repeat(GRID**2, axis=0)  # [positions, 5]
    middles = [(0.5 + np.arange(GRID)) / GRID] * 2
    labels[:, 4] = [PLACES.index(place_of(float(x), float(y))) for y in middles[0] for x in middles[1]]
    if scene is None:
        return labels
    labels[:, 3] = GROUNDS.index(scene.ground)
    for shape in scene.shapes:
        names = (KINDS.index(shape.kind), COLOURS.index(shape.colour), size_step(shape.radius))
        cell = cell_of(shape.x, shape.y, GRID)
        labels[cell, :3] = names
        labels[cell, 4] = PLACES.index(shape.place)
    return labels


class PlaceTeacher(nn.Module):
    """One linear answer sheet for all lessons, over a tile's features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, sum(LESSONS.values()))

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the share of right answers [5] for features [N, P, D], labels [N, P, 5]."""
        answers, flat = self.head(features.flatten(0, 1)), labels.flatten(0, 1)  # [N·P, answers], [N·P, 5]
        shown = flat[:, 0] < LESSONS["kind"] - 1
        losses, right = [], []
        parts = answers.float().split(list(LESSONS.values()), dim=1)
        for number, (part, weight) in enumerate(zip(parts, _WEIGHTS, strict=True)):
            each = F.cross_entropy(part, flat[:, number], reduction="none")  # [N·P]
            # Half of the weight is that of the shapes, which are one position in eight.
            some = each[shown].mean() if shown.any() else each.new_zeros(())
            losses.append(weight * (0.5 * each.mean() + 0.5 * some))
            right.append((part.argmax(1) == flat[:, number])[shown].float().mean())
        return torch.stack(losses).sum(), torch.stack(right)


def mirrored(
    tiles: NDArray[np.uint8], labels: NDArray[np.int64], number: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Turn and mirror tiles [N, S, S, 3] and their labels [N, P, 5] in one of eight ways: new pictures for nothing."""

    def turn(grid: NDArray[Any]) -> NDArray[Any]:
        turned = np.rot90(grid, number % 4, axes=(1, 2))
        return turned[:, :, ::-1] if number >= 4 else turned

    places = turn(np.arange(len(PLACES)).reshape(1, 3, 3)).flatten()  # the old place at each new one
    new_place = np.argsort(places)
    grid = turn(labels.reshape(len(labels), GRID, GRID, -1)).reshape(labels.shape).copy()
    grid[..., 4] = new_place[grid[..., 4]]
    return turn(tiles), grid


def teach_sight(  # noqa: PLR0913 - the draft may be left out
    model: VitaModel,
    teacher: PlaceTeacher,
    albums: list[Album],
    rng: np.random.Generator,
    schedule: Schedule,
    say: Callable[[str], None],
    draft: Path | None = None,
) -> None:
    """Train the vision encoder and the projector of ``model`` on single tiles of ``albums``.

    Large shapes come first: kinds are learned on them twice as fast, and small ones then soon follow.  With a
    ``draft`` the state is written there every few minutes, and taken up from there.
    """
    choice = [(album, sight) for album in albums for sight in album.sights if sight.count == 1]
    choice.sort(key=lambda pair: -ease(pair[1].view))
    eases = np.array([-ease(sight.view) for _, sight in choice])  # [sights], rising
    known = np.stack([view_labels(sight.view) for _, sight in choice])  # [sights, P, 5]
    eyes = nn.ModuleDict({"encoder": model.vision_encoder, "projector": model.projector, "teacher": teacher})
    optimizers = Optimizers(eyes.named_parameters(), schedule, {"": 1.0})
    first = resume(draft, eyes, optimizers, rng)
    start = kept = time.perf_counter()
    shares = np.zeros((0, len(LESSONS)))
    for step in range(first, schedule.steps):
        least = _LARGE * (1 - step / (_LARGE_FIRST * schedule.steps))
        picked = rng.integers(np.searchsorted(eases, -least, "right"), size=schedule.batch_size)
        looks = np.stack([choice[i][0].tiles[choice[i][1].first] for i in picked])  # [N, S, S, 3]
        looks, labels = mirrored(looks, known[picked], int(rng.integers(8)))
        tiles = torch.from_numpy(np.ascontiguousarray(looks))
        optimizers.prepare(step)
        with half_precision():
            features = model.projector(
                model.vision_encoder(model.vision_encoder.normalize(tiles.to(DEVICE)))
            )  # [N, P, D]
            loss, right = teacher(features, torch.from_numpy(labels).to(DEVICE))
        torch.autograd.backward(loss)
        optimizers.learn()
        shares = np.concatenate([shares[-24:], right[None].float().cpu().numpy()])
        if step % 50 == 0 or step == schedule.steps - 1:
            told = " ".join(f"{name} {share:.3f}" for name, share in zip(LESSONS, shares.mean(0), strict=True))
            say(f"sight {step} loss {loss.item():.3f} {told} {time.perf_counter() - start:.0f} s")
        if draft is not None and time.perf_counter() - kept > KEEP_SECONDS:
            save(draft, eyes, optimizers, rng, step + 1)
            kept = time.perf_counter()
    teacher.head.weight.data /= calm(cast(nn.Linear, model.projector[2]), features)


def view_labels(view: View) -> NDArray[np.int64]:
    """Return the labels [positions, 5] of one tile that shows ``view``."""
    return place_labels(view if isinstance(view, Scene) else None)
