"""The spoken questions, and the sounds that are none, as filter banks: recorded once and kept on disk."""

import pickle
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.train_vita_tiny.asking import spoken_queries, word
from tools.train_vita_tiny.batching import alike
from tools.train_vita_tiny.queries import Query
from tools.train_vita_tiny.side_talk import REMARKS
from tools.train_vita_tiny.sounds import add_room, noisy, random_noise_sound, varied
from tools.train_vita_tiny.voices import (
    FLITE_SPEAKERS,
    TRAINING_SPEAKERS,
    Samples,
    Voice,
    is_chinese,
    phonemes,
    random_voice,
    speak_here,
)
from vita_demo.checkpoint.config import AudioConfig
from vita_demo.preprocess.audio import fbank

Random = np.random.Generator
# Lengths are multiples of this many frames, so that recordings of one batch need no mask.
FRAME_STEP = 48
FRAME_SHIFT = 160
_PART, _BABBLE = 200, 60
_NOISY_SHARE = 0.15
_REMARKS = 0.2  # of the number of questions


@dataclass(frozen=True)
class Recording:
    """One recorded sound.

    Attributes:
        query: what is asked; None when it is no question.
        text: what is said; empty when nothing is.
        phonemes: its sounds.
        first: number of its first filter-bank frame.
        count: how many frames it has.
    """

    query: Query | None
    text: str
    phonemes: tuple[str, ...]
    first: int
    count: int


@dataclass(frozen=True)
class Session:
    """What is recorded.

    Attributes:
        seed: of everything.
        english, chinese: about how many questions.
        noises: how many sounds that are no question.
        later: whether questions are put in the wordings of the last lesson.
    """

    seed: int
    english: int
    chinese: int
    noises: int = 0
    later: bool = False


@dataclass(frozen=True)
class Archive:
    """Recordings and their filter banks [frames, mel bins]."""

    recordings: tuple[Recording, ...]
    frames: NDArray[np.float16]

    @classmethod
    def open(cls, folder: Path) -> "Archive":
        """Read an archive; its frames stay on disk until they are heard."""
        recordings = pickle.loads((folder / "recordings.pickle").read_bytes())
        return cls(tuple(recordings), np.load(folder / "recordings.npy", mmap_mode="r"))

    def hear(self, recording: Recording) -> NDArray[np.float16]:
        """Return the filter bank [frames, mel bins] of a recording."""
        return self.frames[recording.first : recording.first + recording.count]

    def batches(self, size: int, rng: Random) -> Iterator[list[Recording]]:
        """Yield batches of equally long recordings, in random order, for ever."""
        return alike(self.recordings, lambda recording: recording.count, size, rng)


def plan_recordings(rng: Random, session: Session) -> list[tuple[Query | None, str]]:
    """Say what is to be recorded: every question, those with more wordings more often, and side talk."""
    plan: list[tuple[Query | None, str]] = []
    for language, count in (("en", session.english), ("zh", session.chinese)):
        queries = [query for query in spoken_queries() if query.language == language]
        weights = np.array([_WEIGHTS.get(query.intent, 1.0) for query in queries])
        repeats = np.maximum(4, np.round(count * weights / weights.sum())).astype(int)
        for query, repeat in zip(queries, repeats, strict=True):
            plan += [(query, word(query, rng, later=session.later)) for _ in range(repeat)]
        plan += [(None, REMARKS[language](rng)) for _ in range(int(_REMARKS * count))]
    return plan


# A question without names stands for itself alone and has many wordings.
_WEIGHTS = {
    "describe": 9, "kinds": 5, "colours": 4, "count": 6, "background": 4, "biggest": 3, "smallest": 3,
    "describe_video": 5, "happens": 8, "direction": 6, "changed": 6, "actor": 3, "hello": 5, "abilities": 4, "name": 4,
    "thanks": 4, "off_topic": 20, "colour_of": 2.0, "kind_of": 1.5, "at": 1.5,
}  # fmt: skip


def record(folder: Path, config: AudioConfig, session: Session) -> None:
    """Speak, add rooms and noise, and write the archive; the same seed records the same.

    What an interrupted call has recorded is used again.
    """
    rng, seed = np.random.default_rng(session.seed), session.seed
    plan = plan_recordings(rng, session)
    speakers = (*TRAINING_SPEAKERS, *FLITE_SPEAKERS)
    voices = [random_voice(rng, speakers, "zh" if is_chinese(text) else "en") for _, text in plan]
    items = [(text, voice) for (_, text), voice in zip(plan, voices, strict=True)]
    babble = [items[i] for i in rng.integers(len(items), size=_BABBLE)]
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    jobs = [
        *(_Job(parts / f"said {i}", seed * 1_000_003 + i, items[i : i + _PART], 0, config)
          for i in range(0, len(items), _PART)),
        *(_Job(parts / f"noise {i}", seed * 2_000_003 + i, babble, min(_PART, session.noises - i), config)
          for i in range(0, session.noises, _PART)),
    ]  # fmt: skip
    # Spawned, because each utterance forks.
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        banks = [bank for path in pool.map(_record_part, jobs) for bank in pickle.loads(path.read_bytes())]
        texts = sorted({text for _, text in plan} | {""})
        sounds = dict(zip(texts, pool.map(phonemes, texts, chunksize=64), strict=True))
    said = [*plan, *[(None, "")] * session.noises]
    firsts = np.cumsum([0, *(len(bank) for bank in banks)])
    recordings = [
        Recording(query, text, sounds[text], int(first), len(bank))
        for (query, text), first, bank in zip(said, firsts[:-1], banks, strict=True)
    ]
    np.save(folder / "recordings.npy", np.concatenate(banks))
    (folder / "recordings.pickle").write_bytes(pickle.dumps(recordings))
    shutil.rmtree(parts)


@dataclass(frozen=True)
class _Job:
    """A part of a session: texts to say, or for as many ``noises`` texts to babble."""

    path: Path
    seed: int
    items: Sequence[tuple[str, Voice]]
    noises: int
    config: AudioConfig


def _record_part(job: _Job) -> Path:
    """Leave the filter banks of a part in a file of its own, unless it is there."""
    if not job.path.exists():
        rng, spoken = np.random.default_rng(job.seed), speak_here(job.items)
        if job.noises:
            sounds = [random_noise_sound(rng, spoken) for _ in range(job.noises)]
        else:
            sounds = [in_a_room(samples, rng) for samples in spoken]
        banks = [fbank(rounded(samples, rng), job.config).astype(np.float16) for samples in sounds]
        draft = job.path.with_suffix(".new")
        draft.write_bytes(pickle.dumps(banks))
        draft.replace(job.path)
    return job.path


def in_a_room(samples: Samples, rng: Random) -> Samples:
    """Change the voice and add a room; to some recordings much noise as well."""
    samples = varied(samples, rng)
    return noisy(samples, rng, float(rng.uniform(3, 15))) if rng.random() < _NOISY_SHARE else add_room(samples, rng)


def rounded(samples: Samples, rng: Random) -> Samples:
    """Lengthen a sound by faint noise until its filter bank has a multiple of ``FRAME_STEP`` frames."""
    frames = max(1, 1 + (len(samples) - 400) // FRAME_SHIFT)
    wanted = -(-frames // FRAME_STEP) * FRAME_STEP
    missing = max(0, 400 + (wanted - 1) * FRAME_SHIFT - len(samples))
    level = float(np.abs(samples[-800:]).mean()) if len(samples) else 0.0
    tail = rng.normal(0, max(1e-5, min(level, 0.002)), missing)
    return np.concatenate([samples, tail]).astype(np.float32)[: 400 + (wanted - 1) * FRAME_SHIFT]
