"""The eyes' first lesson: vision encoder and projector learn to say of every place what is there.

It is what makes the rest quick: a language model that must find out by itself that pictures hold shapes, while the
encoder finds out what the language model looks for, needs many times the pictures.
"""

import time
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.train_vita_tiny.album import Album
from tools.train_vita_tiny.calming import calm
from tools.train_vita_tiny.compute import DEVICE, half_precision
from tools.train_vita_tiny.grounds import GROUNDS
from tools.train_vita_tiny.optimizers import Optimizers
from tools.train_vita_tiny.queries import View
from tools.train_vita_tiny.scenes import COLOURS, KINDS, PLACES, SIZES, Scene
from tools.train_vita_tiny.schedule import Schedule
from vita_demo.model.vita import VitaModel

# Name of each lesson and its number of answers; the last one of kind, colour, size and ground means that there is none.
LESSONS = {"kind": 7, "colour": 9, "size": 4, "ground": 7, "place": 9}


def place_labels(scene: Scene | None) -> NDArray[np.int64]:
    """Say of each place which shape is there, if any: the model's tiles have one position for each place.

    Returns:
        [9, 5]: kind, colour, size, ground and place; a picture that is no scene has the last answer everywhere.
    """
    labels = np.array([count - 1 for count in LESSONS.values()])[None].repeat(len(PLACES), axis=0)  # [9, 5]
    labels[:, 4] = np.arange(len(PLACES))
    if scene is None:
        return labels
    labels[:, 3] = list(GROUNDS).index(scene.ground)
    for shape in scene.shapes:
        names = (KINDS.index(shape.kind), COLOURS.index(shape.colour), SIZES.index(shape.size))
        labels[PLACES.index(shape.place), :3] = names
    return labels


class PlaceTeacher(nn.Module):
    """One linear answer sheet for all lessons, over a tile's features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, sum(LESSONS.values()))

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the share of right answers [5] for features [N, 9, D], labels [N, 9, 5]."""
        answers, flat = self.head(features.flatten(0, 1)), labels.flatten(0, 1)  # [N·9, answers], [N·9, 5]
        shown = flat[:, 0] < LESSONS["kind"] - 1
        losses, right = [], []
        for number, part in enumerate(answers.split(list(LESSONS.values()), dim=1)):
            losses.append(F.cross_entropy(part.float(), flat[:, number]))
            right.append((part.argmax(1) == flat[:, number])[shown].float().mean())
        return torch.stack(losses).sum(), torch.stack(right)


def teach_sight(
    model: VitaModel,
    teacher: PlaceTeacher,
    albums: list[Album],
    rng: np.random.Generator,
    schedule: Schedule,
    say: Callable[[str], None],
) -> None:
    """Train the vision encoder and the projector of ``model`` on single tiles of ``albums``."""
    choice = [(album, sight) for album in albums for sight in album.sights if sight.count == 1]
    eyes = nn.ModuleDict({"encoder": model.vision_encoder, "projector": model.projector, "teacher": teacher})
    optimizers = Optimizers(eyes.named_parameters(), schedule, {"": 1.0})
    start = time.perf_counter()
    for step in range(schedule.steps):
        picked = [choice[i] for i in rng.integers(len(choice), size=schedule.batch_size)]
        tiles = torch.from_numpy(np.stack([album.tiles[sight.first] for album, sight in picked]))  # [N, S, S, 3]
        labels = torch.from_numpy(np.stack([view_labels(sight.view) for _, sight in picked]))  # [N, 9, 5]
        optimizers.prepare(step)
        with half_precision():
            features = model.projector(
                model.vision_encoder(model.vision_encoder.normalize(tiles.to(DEVICE)))
            )  # [N, 9, D]
            loss, right = teacher(features, labels.to(DEVICE))
        torch.autograd.backward(loss)
        optimizers.learn()
        if step % 100 == 0 or step == schedule.steps - 1:
            shares = " ".join(f"{name} {share:.3f}" for name, share in zip(LESSONS, right.tolist(), strict=True))
            say(f"sight {step} loss {loss.item():.3f} {shares} {time.perf_counter() - start:.0f} s")
    teacher.head.weight.data /= calm(cast(nn.Linear, model.projector[2]), features)


def view_labels(view: View) -> NDArray[np.int64]:
    """Return the labels [9, 5] of one tile that shows ``view``."""
    return place_labels(view if isinstance(view, Scene) else None)
