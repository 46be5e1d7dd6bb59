"""The ears' first lesson: the audio encoder learns to write down the sounds of what is said.

Connectionist temporal classification (Graves et al. 2006) over phonemes; sounds that are no speech have none.  Phonemes
and not words: the encoder's attention does not know how far apart two frames are, so what it can tell is local.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.train_vita_tiny.calming import calm
from tools.train_vita_tiny.checkpoints import KEEP_SECONDS, resume, save
from tools.train_vita_tiny.compute import DEVICE, half_precision
from tools.train_vita_tiny.encoded import Encoded
from tools.train_vita_tiny.optimizers import Optimizers
from tools.train_vita_tiny.recordings import Archive, Recording
from tools.train_vita_tiny.schedule import Schedule
from vita_demo.model.audio_encoder import Adapter, AudioEncoder, sinusoids

BLANK = 0
_CONTEXT = 5


def encode_frames(encoder: AudioEncoder, fbank: Tensor) -> Tensor:
    """Encode filter banks [N, T, mel bins] up to the adapter: [N, T/4, D].

    Equal to what ``AudioEncoder`` computes on its way.
    """
    x = encoder.subsampling(encoder.cmvn(fbank))  # [N, T/4, D]
    x = encoder.embed(x) * math.sqrt(encoder.config.hidden_size)
    positions = sinusoids(x.shape[1], x.shape[2], x.device)
    for layer in encoder.encoders:
        x = layer(x, positions)
    out: Tensor = encoder.after_norm(x)
    return out


def damaged(fbank: Tensor, rng: np.random.Generator) -> Tensor:
    """Mask a few bands and moments (Park et al. 2019), and change level, throat and channel of [N, T, mel bins].

    The throat is a stretch of the mel axis by up to an eighth (vocal tract length), the channel a smooth gain.
    """
    fbank = fbank + torch.from_numpy(rng.uniform(-2, 2, (len(fbank), 1, 1))).float()
    fbank = torch.stack([_stretched(bank, float(rng.uniform(0.88, 1.12))) for bank in fbank])
    knots = torch.from_numpy(rng.normal(0, 0.6, (len(fbank), 1, 5))).float()
    fbank = fbank + F.interpolate(knots, fbank.shape[2], mode="linear", align_corners=True)
    fill = fbank.mean(dim=(1, 2), keepdim=True)
    mask = torch.zeros_like(fbank, dtype=torch.bool)
    for row in range(len(fbank)):
        for _ in range(2):
            low, width = rng.integers(80), rng.integers(12)
            mask[row, :, low : low + width] = True
            start, length = rng.integers(fbank.shape[1]), rng.integers(16)
            mask[row, start : start + length] = True
    return torch.where(mask, fill, fbank)


def _stretched(bank: Tensor, factor: float) -> Tensor:
    """Read mel bins [T, bins] at ``factor`` times their number; above the last one it repeats."""
    at = (torch.arange(bank.shape[1]) * factor).clamp(max=bank.shape[1] - 1.001)  # [bins]
    low, part = at.long(), at - at.long()
    return bank[:, low] * (1 - part) + bank[:, low + 1] * part


class Scribe(nn.Module):
    """Writes down the phonemes that the encoder hears, with as much context as the adapter will have."""

    def __init__(self, width: int, spoken: Sequence[Sequence[str]]) -> None:
        super().__init__()
        known = sorted({phoneme for phonemes in spoken for phoneme in phonemes})
        self.numbers = {phoneme: number for number, phoneme in enumerate(known, start=1)}
        self.context = nn.Conv1d(width, width, _CONTEXT, padding=_CONTEXT // 2)
        self.head = nn.Linear(width, 1 + len(known))

    def forward(self, frames: Tensor, spoken: Sequence[Sequence[str]]) -> tuple[Tensor, float]:
        """Return the loss and the share of phonemes that are written down right, for frames [N, T, D]."""
        context = F.gelu(self.context(frames.transpose(1, 2)).transpose(1, 2))  # [N, T, D]
        return self.compare(self.head(context), spoken)

    def compare(self, answers: Tensor, spoken: Sequence[Sequence[str]]) -> tuple[Tensor, float]:
        """Return the same for answers [N, T, phonemes]."""
        logits = F.log_softmax(answers.float(), dim=-1)  # [N, T, phonemes]
        targets = [[self.numbers[phoneme] for phoneme in phonemes] for phonemes in spoken]
        flat = torch.tensor([number for target in targets for number in target], dtype=torch.long, device=logits.device)
        lengths = torch.tensor([len(target) for target in targets])
        steps = torch.full((len(targets),), logits.shape[1], dtype=torch.long)
        loss = F.ctc_loss(logits.transpose(0, 1), flat, steps, lengths, BLANK, reduction="sum", zero_infinity=True)
        written = [[int(n) for n in row.unique_consecutive() if n != BLANK] for row in logits.argmax(-1).cpu()]
        matching = sum(
            block.size
            for guess, target in zip(written, targets, strict=True)
            for block in SequenceMatcher(None, guess, target, autojunk=False).get_matching_blocks()
        )
        return loss / max(1, len(flat)), matching / max(1, len(flat))


def teach_hearing(
    encoder: AudioEncoder,
    archive: Archive,
    rng: np.random.Generator,
    schedule: Schedule,
    say: Callable[[str], None],
    draft: Path | None = None,
) -> Scribe:
    """Train ``encoder`` on the whole archive; return what wrote down what it heard.

    With a ``draft`` the state is written there every few minutes, and taken up from there.
    """
    scribe = Scribe(encoder.config.hidden_size, [recording.phonemes for recording in archive.recordings]).to(DEVICE)
    named = [*encoder.named_parameters(), *scribe.named_parameters("scribe")]
    optimizers = Optimizers(named, schedule, {"": 1.0, "adapter.": 0.0})
    heard: Iterator[list[Recording]] = archive.batches(schedule.batch_size, rng)
    first = resume(draft, nn.ModuleList([encoder, scribe]), optimizers, rng)
    start, shares = time.perf_counter(), [0.0]
    kept = start
    for step in range(first, schedule.steps):
        batch = next(heard)
        fbank = torch.from_numpy(np.stack([archive.hear(recording) for recording in batch]).astype(np.float32))
        optimizers.prepare(step)
        with half_precision():
            loss, share = scribe(
                encode_frames(encoder, damaged(fbank, rng).to(DEVICE)), [recording.phonemes for recording in batch]
            )
        torch.autograd.backward(loss)
        optimizers.learn()
        shares = [*shares[-49:], share]
        if step % 100 == 0 or step == schedule.steps - 1:
            seconds = time.perf_counter() - start
            say(f"hearing {step} loss {loss.item():.3f} phonemes right {np.mean(shares):.3f} {seconds:.0f} s")
        if draft is not None and time.perf_counter() - kept > KEEP_SECONDS:
            save(draft, nn.ModuleList([encoder, scribe]), optimizers, rng, step + 1)
            kept = time.perf_counter()
    return scribe


class AdapterScribe(Scribe):
    """Writes down what is left behind the adapter: two phonemes for each position."""

    def __init__(self, width: int, spoken: Sequence[Sequence[str]]) -> None:
        super().__init__(width, spoken)
        self.pair = nn.Linear(width, 2 * (1 + len(self.numbers)))

    def forward(self, positions: Tensor, spoken: Sequence[Sequence[str]]) -> tuple[Tensor, float]:
        """Return the loss and the share of phonemes that are written down right, for positions [N, T, D]."""
        return self.compare(self.pair(positions).view(len(positions), 2 * positions.shape[1], -1), spoken)


def teach_adapter(
    adapter: Adapter, encoded: Encoded, rng: np.random.Generator, schedule: Schedule, say: Callable[[str], None]
) -> None:
    """Train ``adapter`` to pass on what the encoder hears, in the language model's width."""
    scribe = AdapterScribe(adapter.project.out_features, [recording.phonemes for recording in encoded.recordings]).to(
        DEVICE
    )
    optimizers = Optimizers([*adapter.named_parameters(), *scribe.named_parameters("scribe")], schedule, {"": 1.0})
    heard = encoded.archive.batches(schedule.batch_size, rng)
    for step in range(schedule.steps):
        batch = next(heard)
        frames = torch.from_numpy(np.stack([encoded.hear(recording, rng) for recording in batch]).astype(np.float32))
        optimizers.prepare(step)
        with half_precision():
            positions = adapter(frames.to(DEVICE))  # [N, T/8, D]
            loss, share = scribe(positions, [recording.phonemes for recording in batch])
        torch.autograd.backward(loss)
        optimizers.learn()
        if step % 100 == 0 or step == schedule.steps - 1:
            say(f"adapter {step} loss {loss.item():.3f} phonemes right {share:.3f}")
    calm(adapter.project, positions)
