"""The last lesson, in which everything is learned together: to look, to listen, to read and to answer.

Two processes work on halves of each batch and add up their gradients: on a CPU that is quicker than two threads in one.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tools.train_vita_tiny.album import Album, Sight, batches, no_sight
from tools.train_vita_tiny.clips import Clip
from tools.train_vita_tiny.compute import DEVICE, half_precision
from tools.train_vita_tiny.encoded import Encoded
from tools.train_vita_tiny.lessons import Bookshelf, chains_about
from tools.train_vita_tiny.optimizers import Optimizers
from tools.train_vita_tiny.packs import Pack, grouped, prefix_ids
from tools.train_vita_tiny.queries import View
from tools.train_vita_tiny.reading import answer_loss
from tools.train_vita_tiny.recordings import Recording
from tools.train_vita_tiny.schedule import Schedule
from tools.train_vita_tiny.sight import PatchTeacher, view_labels
from vita_demo.model.vita import VitaModel
from vita_demo.tokenizer import VitaTokenizer

# What a batch shows and how often, how large it is beside the others, and how many tokens of questions and answers
# follow each sight.
SHARES = {"scenes": 0.42, "clips": 0.34, "large": 0.07, "outside": 0.08, "nothing": 0.09}
SIZES = {"clips": 0.75, "large": 0.5}
ROOM = 240
_HINT_SHARE = 0.5
QUESTIONS = 14
# The encoders have had their first lessons: the eyes move less, the ears not at all.
SCALES = {"": 1.0, "vision_encoder.": 0.2, "audio_encoder.": 0.0, "audio_encoder.adapter.": 1.0}


@dataclass(frozen=True)
class Materials:
    """Everything that is learned from.

    Attributes:
        albums: pictures by kind.
        encoded: recordings as the ears hear them; None before these have had their first lesson.
    """

    albums: dict[str, Album]
    encoded: Encoded | None = None


class School:
    """One process's share of the lesson."""

    def __init__(self, model: VitaModel, tokenizer: VitaTokenizer, materials: Materials, seed: int) -> None:
        self.model, self.tokenizer, self.materials = model, tokenizer, materials
        self.rng = np.random.default_rng(seed)
        self.shelf = Bookshelf(materials.encoded.recordings) if materials.encoded else None
        self.prefixes = {
            name: torch.tensor(prefix_ids(name, tokenizer.encode), device=DEVICE) for name in ("image", "video", "text")
        }
        self.drawn: dict[str, Iterator[list[Sight]]] = {}
        self.teacher = PatchTeacher(model.config.text.hidden_size).to(DEVICE)

    def loss(self, kind: str, size: int) -> tuple[Tensor, Tensor]:
        """Draw a batch of ``size`` sights of one kind; return the loss and the share of tokens answered right."""
        sights = self._sights(kind, size)
        packs = [
            Pack.of(sight, chains_about(sight, self.shelf, self.rng, QUESTIONS), self.tokenizer.encode, ROOM)
            for sight in sights
        ]
        groups = grouped(packs)
        images = self._look(self.materials.albums[kind], sights) if sights[0].count else None
        hint = self._hint(images, sights) if images is not None else 0.0
        sounds = [recording for group in groups for recording in group.recordings]
        heard = self._listen(self.materials.encoded, sounds) if self.materials.encoded and sounds else None
        seen = None if images is None else images.view(len(sights), -1, images.shape[-1])  # [B, tiles · 16, D]
        loss, share = answer_loss(self.model.language_model, self.prefixes[sights[0].modality], groups, seen, heard)
        return loss + hint, share

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield everything that learns, by name."""
        yield from self.model.named_parameters()
        yield from self.teacher.named_parameters("teacher")

    def _hint(self, images: Tensor, sights: list[Sight]) -> Tensor:
        """Ask the projector's features [B·N, 16, D] what is where, as the eyes' first lesson did.

        Without it they would forget: the answers' tokens teach kinds of shapes much more slowly than colours.  Asked
        are pictures as a whole and the first and last frames of clips.
        """
        tiles = images.view(len(sights), -1, *images.shape[1:])  # [B, N, 16, D]
        shown = [(tiles[:, -1], [_end(sight) for sight in sights])]
        if sights[0].modality == "video":
            shown.append((tiles[:, 0], [_start(sight) for sight in sights]))
        features = torch.cat([features for features, _ in shown])  # [shown, 16, D]
        labels = np.stack([view_labels(view) for _, views in shown for view in views])  # [shown, 64, 6]
        loss: Tensor = self.teacher(features, torch.from_numpy(labels).to(DEVICE))[0]
        return _HINT_SHARE * loss

    def _sights(self, kind: str, size: int) -> list[Sight]:
        if kind == "nothing":
            return [no_sight()] * size
        if kind not in self.drawn:
            self.drawn[kind] = batches(self.materials.albums[kind].sights, size, self.rng)
        return next(self.drawn[kind])

    def _look(self, album: Album, sights: list[Sight]) -> Tensor:
        """Encode all tiles; those before a thumbnail, which shows the same, without learning from them."""
        looks = [album.tiles[sight.first : sight.first + sight.count] for sight in sights]
        tiles = torch.from_numpy(np.stack(looks)).to(DEVICE)  # [B, N, S, S, 3]
        encoder = self.model.vision_encoder
        if sights[0].modality == "image" and sights[0].count > 1:
            with torch.no_grad():
                parts = encoder(encoder.normalize(tiles[:, :-1].flatten(0, 1)))
            whole = encoder(encoder.normalize(tiles[:, -1]))  # [B, 16, 4·D]
            parts = parts.view(len(sights), -1, *parts.shape[1:])  # [B, N - 1, 16, 4·D]
            features = torch.cat([parts, whole[:, None]], dim=1).flatten(0, 1)  # [B·N, 16, 4·D]
        else:
            features = encoder(encoder.normalize(tiles.flatten(0, 1)))  # [B·N, 16, 4·D]
        projected: Tensor = self.model.projector(features)
        return projected

    def _listen(self, encoded: Encoded, recordings: list[Recording]) -> Tensor:
        """Bring recordings to the language model's width: [positions, D], one after the other."""
        outputs: dict[int, Tensor] = {}
        for length in {recording.count for recording in recordings}:
            numbers = [i for i, recording in enumerate(recordings) if recording.count == length]
            heard = np.stack([encoded.hear(recordings[i], self.rng) for i in numbers])  # [N, T/4, D]
            adapted = self.model.audio_encoder.adapter(torch.from_numpy(heard).float().to(DEVICE))  # [N, T/8, D]
            outputs.update(zip(numbers, adapted, strict=True))
        return torch.cat([outputs[i] for i in range(len(recordings))])  # [positions, D]


def _start(sight: Sight) -> View:
    return sight.view.start if isinstance(sight.view, Clip) else sight.view


def _end(sight: Sight) -> View:
    return sight.view.end if isinstance(sight.view, Clip) else sight.view


def attend_school(
    school: School, schedule: Schedule, seed: int, say: Callable[[str], None], keep: Callable[[], None] = lambda: None
) -> None:
    """Train; with torch.distributed set up, together with the other processes.

    ``keep`` is called every hundred steps and at the end.
    """
    optimizers = Optimizers(school.parameters(), schedule, SCALES)
    # All processes show the same kind at the same step, so that none waits for a longer one.
    kinds = np.random.default_rng(seed)
    start, seen = time.perf_counter(), dict.fromkeys(SHARES, (0.0, 0.0))
    for step in range(schedule.steps):
        kind = str(kinds.choice(list(SHARES), p=list(SHARES.values())))
        size = int(schedule.batch_size * SIZES.get(kind, 1.0))
        optimizers.prepare(step)
        with half_precision():
            loss, share = school.loss(kind, size)
        torch.autograd.backward(loss)
        _share_gradients(optimizers.parameters)
        optimizers.learn()
        seen[kind] = (loss.item(), share.item())
        if step % 25 == 0 or step == schedule.steps - 1:
            told = " ".join(f"{name} {value:.3f}/{right:.3f}" for name, (value, right) in seen.items())
            say(f"school {step} loss/right {told} {time.perf_counter() - start:.0f} s")
        if step % 100 == 99 or step == schedule.steps - 1:
            keep()


def _share_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes."""
    if not dist.is_initialized():
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])  # [parameters]
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def join_processes(rank: int, world: int, folder: Path) -> None:
    """Meet the other processes through a file."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world)
