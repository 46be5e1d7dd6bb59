"""What the audio encoder hears in the recordings, up to its adapter: written down once, since it learns no more."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.train_vita_tiny.recordings import Archive, Recording

Frames = NDArray[np.float16]


@dataclass(frozen=True)
class Encoded:
    """Several hearings of an archive: a clean one and damaged ones.

    Attributes:
        archive: the recordings.
        copies: for each hearing the frames of all recordings [frames/4, D].
        firsts: number of each recording's first encoded frame, by its first filter-bank frame.
    """

    archive: Archive
    copies: tuple[Frames, ...]
    firsts: dict[int, int]

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """All recordings."""
        return self.archive.recordings

    @classmethod
    def open(cls, folder: Path, archive: Archive) -> "Encoded":
        """Read what ``write`` wrote; the frames stay on disk until they are used."""
        copies = tuple(np.load(path, mmap_mode="r") for path in sorted(folder.glob("copy*.npy")))
        firsts = np.load(folder / "firsts.npy")
        numbers = {recording.first: int(first) for recording, first in zip(archive.recordings, firsts, strict=True)}
        return cls(archive, copies, numbers)

    def hear(self, recording: Recording, rng: np.random.Generator) -> Frames:
        """Return one of the hearings of a recording: [frames/4, D]."""
        first = self.firsts[recording.first]
        copy = self.copies[rng.integers(len(self.copies))]
        return copy[first : first + len(range(recording.count)[2::2][2::2])]


def write_encoded(
    folder: Path, archive: Archive, copies: int, encode: Callable[[NDArray[np.float32], bool], Frames]
) -> None:
    """Let ``encode`` hear all recordings ``copies`` times, first undamaged: [N, T, mel bins] to [N, T/4, D]."""
    by_length: dict[int, list[int]] = {}
    for number, recording in enumerate(archive.recordings):
        by_length.setdefault(recording.count, []).append(number)
    folder.mkdir(exist_ok=True)
    heard: list[Frames] = [np.empty(0, np.float16)] * len(archive.recordings)
    for copy in range(copies):
        for numbers in by_length.values():
            for part in (numbers[start : start + 64] for start in range(0, len(numbers), 64)):
                banks = np.stack([archive.hear(archive.recordings[number]) for number in part]).astype(np.float32)
                for number, frames in zip(part, encode(banks, copy > 0), strict=True):
                    heard[number] = frames
        np.save(folder / f"copy{copy}.npy", np.concatenate(heard))
    np.save(folder / "firsts.npy", np.cumsum([0, *(len(frames) for frames in heard[:-1])]))
