"""The eyes' first lesson: vision encoder and projector learn to say of every patch what is there.

It is what makes the rest quick: a language model that must find out by itself that pictures hold shapes, while the
encoder finds out what the language model looks for, needs many times the pictures.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.train_vita_tiny.album import Album
from tools.train_vita_tiny.compute import DEVICE, half_precision
from tools.train_vita_tiny.grounds import GROUNDS
from tools.train_vita_tiny.optimizers import Optimizers
from tools.train_vita_tiny.queries import View
from tools.train_vita_tiny.scenes import COLOURS, KINDS, PLACES, SIZES, Scene
from tools.train_vita_tiny.schedule import Schedule
from vita_demo.model.vita import VitaModel

GRID = 8
# Name of each lesson and its number of answers; the last one of each means that nothing is there.
LESSONS = {"kind": 7, "colour": 9, "size": 4, "place": 10, "centre": 2, "ground": 7}


def patch_labels(scene: Scene | None) -> NDArray[np.int64]:
    """Say for each patch which shape it shows, if any.

    Returns:
        [64, 6]: kind, colour, size, place, whether it holds the centre, and the ground; a picture that is no scene
        has the last answer everywhere.
    """
    labels = np.array([count - 1 for count in LESSONS.values()])[None].repeat(GRID * GRID, axis=0)  # [64, 6]
    labels[:, 4] = 0
    if scene is None:
        return labels
    labels[:, 5] = list(GROUNDS).index(scene.ground)
    middle = (np.arange(GRID) + 0.5) / GRID
    for shape in scene.shapes:
        inside = np.hypot(middle[None] - shape.x, middle[:, None] - shape.y) < shape.radius  # [rows, columns]
        row, column = int(shape.y * GRID), int(shape.x * GRID)
        inside[row, column] = True
        names = (KINDS.index(shape.kind), COLOURS.index(shape.colour), SIZES.index(shape.size))
        labels[inside.flatten(), :4] = (*names, PLACES.index(shape.place))
        labels[row * GRID + column, 4] = 1
    return labels


class PatchTeacher(nn.Module):
    """One linear answer sheet for all lessons, over features of 2 × 2 patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, 4 * sum(LESSONS.values()))

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the share of right answers [6] for features [N, 16, D], labels [N, 64, 6]."""
        n = len(features)
        answers = self.head(features).view(n, GRID // 2, GRID // 2, 2, 2, -1)  # [N, rows, columns, 2, 2, answers]
        answers = answers.transpose(2, 3).reshape(n * GRID * GRID, -1)  # [N·64, answers]
        flat = labels.view(-1, len(LESSONS))  # [N·64, 6]
        losses, right = [], []
        for number, part in enumerate(answers.split(list(LESSONS.values()), dim=1)):
            losses.append(F.cross_entropy(part.float(), flat[:, number]))
            busy = flat[:, 0] < LESSONS["kind"] - 1 if number < 4 else torch.ones_like(flat[:, 0], dtype=torch.bool)
            right.append((part.argmax(1) == flat[:, number])[busy].float().mean())
        return torch.stack(losses).sum(), torch.stack(right)


def teach_sight(
    model: VitaModel, albums: list[Album], rng: np.random.Generator, schedule: Schedule, say: Callable[[str], None]
) -> None:
    """Train the vision encoder and the projector of ``model`` on single tiles of ``albums``."""
    teacher = PatchTeacher(model.config.text.hidden_size).to(DEVICE)
    choice = [(album, sight) for album in albums for sight in album.sights if sight.count == 1]
    eyes = nn.ModuleDict({"encoder": model.vision_encoder, "projector": model.projector, "teacher": teacher})
    optimizers = Optimizers(eyes.named_parameters(), schedule, {"": 1.0})
    start = time.perf_counter()
    for step in range(schedule.steps):
        picked = [choice[i] for i in rng.integers(len(choice), size=schedule.batch_size)]
        tiles = torch.from_numpy(np.stack([album.tiles[sight.first] for album, sight in picked]))  # [N, S, S, 3]
        labels = torch.from_numpy(np.stack([view_labels(sight.view) for _, sight in picked]))  # [N, 64, 6]
        optimizers.prepare(step)
        with half_precision():
            features = model.projector(
                model.vision_encoder(model.vision_encoder.normalize(tiles.to(DEVICE)))
            )  # [N, 16, D]
            loss, right = teacher(features, labels.to(DEVICE))
        torch.autograd.backward(loss)
        optimizers.learn()
        if step % 100 == 0 or step == schedule.steps - 1:
            shares = " ".join(f"{name} {share:.3f}" for name, share in zip(LESSONS, right.tolist(), strict=True))
            say(f"sight {step} loss {loss.item():.3f} {shares} {time.perf_counter() - start:.0f} s")


def view_labels(view: View) -> NDArray[np.int64]:
    """Return the labels [64, 6] of one tile that shows ``view``."""
    return patch_labels(view if isinstance(view, Scene) else None)
