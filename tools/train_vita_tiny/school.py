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
from tools.train_vita_tiny.checkpoints import KEEP_SECONDS, resume, save
from tools.train_vita_tiny.clips import Clip, padded
from tools.train_vita_tiny.compute import DEVICE, half_precision
from tools.train_vita_tiny.encoded import Encoded
from tools.train_vita_tiny.lessons import Bookshelf, chains_about
from tools.train_vita_tiny.optimizers import Optimizers
from tools.train_vita_tiny.packs import Pack, grouped, prefix_ids
from tools.train_vita_tiny.queries import View
from tools.train_vita_tiny.reading import answer_loss
from tools.train_vita_tiny.recordings import Recording
from tools.train_vita_tiny.schedule import Schedule
from tools.train_vita_tiny.sight import PlaceTeacher, view_labels
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.model.vita import VitaModel

# How large a batch of each kind is beside the others, and how many tokens of questions and answers follow each sight.
SIZES = {"clips": 0.75, "large": 0.5, "large crowds": 0.5}
ROOM = 240
_HINT_SHARE = 0.5
QUESTIONS = 14
# The encoders have had their first lessons: the eyes move less, the ears not at all.
SCALES = {
    "": 1.0, "model.vision_encoder.": 0.2, "model.projector.": 0.2, "model.audio_encoder.": 0.0,
    "model.audio_encoder.adapter.": 0.3,
}  # fmt: skip


@dataclass(frozen=True)
class Course:
    """A part of the lesson.

    Attributes:
        schedule: how long and how boldly.
        shares: what a batch shows, and how often.
        seed: of the order of what is shown.
        advanced: whether more is asked that calls for a close look, and in more wordings.
        pointed_layers: where attention to what an answer is about is asked for.
    """

    schedule: Schedule
    shares: dict[str, float]
    seed: int
    advanced: bool = False
    pointed_layers: tuple[int, ...] = (2, 3)


@dataclass(frozen=True)
class Materials:
    """Everything that is learned from.

    Attributes:
        albums: pictures by kind.
        encoded: recordings as the ears hear them; none before these have had their first lesson.
    """

    albums: dict[str, Album]
    encoded: tuple[Encoded, ...] = ()


class Pupil(nn.Module):
    """The model and who asks its eyes."""

    def __init__(self, model: VitaModel, teacher: PlaceTeacher) -> None:
        super().__init__()
        self.model, self.teacher = model, teacher


class School:
    """One process's share of the lesson."""

    def __init__(self, pupil: Pupil, tokenizer: VitaTokenizer, materials: Materials, seed: int) -> None:
        self.pupil, self.model, self.teacher = pupil, pupil.model, pupil.teacher
        self.tokenizer, self.materials = tokenizer, materials
        self.rng = np.random.default_rng(seed)
        self.owners = {recording: encoded for encoded in materials.encoded for recording in encoded.recordings}
        self.shelf = Bookshelf(tuple(self.owners)) if self.owners else None
        self.prefixes = {
            name: torch.tensor(prefix_ids(name, tokenizer.encode), device=DEVICE) for name in ("image", "video", "text")
        }
        self.drawn: dict[str, Iterator[list[Sight]]] = {}

    def loss(self, course: Course, kind: str) -> tuple[Tensor, Tensor]:
        """Draw a batch of sights of one kind; return the loss and the share of tokens answered right."""
        size = int(course.schedule.batch_size * SIZES.get(kind, 1.0))
        sights = self._sights(kind, size)
        groups = grouped([self._pack(sight, course.advanced) for sight in sights])
        images = self._look(self.materials.albums[kind], sights) if sights[0].count else None
        hint = self._hint(images, sights) if images is not None else 0.0
        sounds = [recording for group in groups for recording in group.recordings]
        heard = self._listen(sounds) if sounds else None
        seen = None if images is None else images.view(len(sights), -1, images.shape[-1])  # [B, tiles · P, D]
        prefix = self.prefixes[sights[0].modality]
        loss, share = answer_loss(self.model.language_model, prefix, groups, seen, heard, course.pointed_layers)
        return loss + hint, share

    def _pack(self, sight: Sight, advanced: bool) -> Pack:
        chains = chains_about(sight, self.shelf, self.rng, QUESTIONS, advanced)
        return Pack.of(sight, chains, self.tokenizer.encode, ROOM)

    def _hint(self, images: Tensor, sights: list[Sight]) -> Tensor:
        """Ask the projector's features [B·N, P, D] what is where, as the eyes' first lesson did.

        Without it they would forget: the answers' tokens teach kinds of shapes much more slowly than colours.  Asked
        are pictures as a whole and the first and last frames of clips.
        """
        tiles = images.view(len(sights), -1, *images.shape[1:])  # [B, N, P, D]
        shown = [(tiles[:, -1], [_end(sight) for sight in sights])]
        if sights[0].modality == "video":
            shown.append((tiles[:, 0], [_start(sight) for sight in sights]))
        features = torch.cat([features for features, _ in shown])  # [shown, P, D]
        labels = np.stack([view_labels(view) for _, views in shown for view in views])  # [shown, P, 5]
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
            whole = encoder(encoder.normalize(tiles[:, -1]))  # [B, P, 4·D]
            parts = parts.view(len(sights), -1, *parts.shape[1:])  # [B, N - 1, P, 4·D]
            features = torch.cat([parts, whole[:, None]], dim=1).flatten(0, 1)  # [B·N, P, 4·D]
        else:
            features = encoder(encoder.normalize(tiles.flatten(0, 1)))  # [B·N, P, 4·D]
        projected: Tensor = self.model.projector(features)
        return projected

    def _listen(self, recordings: list[Recording]) -> Tensor:
        """Bring recordings to the language model's width: [positions, D], one after the other."""
        outputs: dict[int, Tensor] = {}
        for length in {recording.count for recording in recordings}:
            numbers = [i for i, recording in enumerate(recordings) if recording.count == length]
            heard = np.stack([self.owners[recordings[i]].hear(recordings[i], self.rng) for i in numbers])  # [N, T/4, D]
            adapted = self.model.audio_encoder.adapter(torch.from_numpy(heard).float().to(DEVICE))  # [N, T/8, D]
            outputs.update(zip(numbers, adapted, strict=True))
        return torch.cat([outputs[i] for i in range(len(recordings))])  # [positions, D]


def _start(sight: Sight) -> View:
    return padded(sight.view.start) if isinstance(sight.view, Clip) else sight.view


def _end(sight: Sight) -> View:
    return padded(sight.view.end) if isinstance(sight.view, Clip) else sight.view


def attend_school(
    school: School, course: Course, say: Callable[[str], None], draft: Path | None = None, keeper: bool = True
) -> None:
    """Train; with torch.distributed set up, together with the other processes.

    With a ``draft`` the state is taken up from there, and written there every few minutes by the one ``keeper``.
    """
    schedule, shares = course.schedule, course.shares
    optimizers = Optimizers(school.pupil.named_parameters(), schedule, SCALES)
    # All processes show the same kind at the same step, so that none waits for a longer one.
    kinds = np.random.default_rng(course.seed)
    first = resume(draft, school.pupil, optimizers, kinds)
    if first:
        school.rng = np.random.default_rng([int(school.rng.integers(2**31)), first])
    start, seen = time.perf_counter(), dict.fromkeys(shares, (0.0, 0.0))
    kept = start
    for step in range(first, schedule.steps):
        kind = str(kinds.choice(list(shares), p=list(shares.values())))
        optimizers.prepare(step)
        with half_precision():
            loss, share = school.loss(course, kind)
        torch.autograd.backward(loss)
        _share_gradients(optimizers.parameters)
        optimizers.learn()
        seen[kind] = (loss.item(), share.item())
        if step % 25 == 0 or step == schedule.steps - 1:
            told = " ".join(f"{name} {value:.3f}/{right:.3f}" for name, (value, right) in seen.items())
            say(f"school {step} loss/right {told} {time.perf_counter() - start:.0f} s")
        if draft is not None and keeper and time.perf_counter() - kept > KEEP_SECONDS:
            save(draft, school.pupil, optimizers, kinds, step + 1)
            kept = time.perf_counter()


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
