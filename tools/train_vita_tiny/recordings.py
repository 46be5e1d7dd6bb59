"""The spoken questions, and the sounds that are none, as filter banks: recorded once and kept on disk."""

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
    is_chinese,
    phonemes,
    random_voice,
    speak_many,
)
from vita_demo.checkpoint.config import AudioConfig
from vita_demo.preprocess.audio import fbank

Random = np.random.Generator
# Lengths are multiples of this many frames, so that recordings of one batch need no mask.
FRAME_STEP = 48
FRAME_SHIFT = 160
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
    """Speak, add rooms and noise, and write the archive; the same seed records the same."""
    rng, seed, noises = np.random.default_rng(session.seed), session.seed, session.noises
    plan = plan_recordings(rng, session)
    voices = [
        random_voice(rng, (*TRAINING_SPEAKERS, *FLITE_SPEAKERS), "zh" if is_chinese(text) else "en") for _, text in plan
    ]
    spoken = speak_many([(text, voice) for (_, text), voice in zip(plan, voices, strict=True)])
    babble = [spoken[i] for i in rng.integers(len(spoken), size=200)]
    part = 200
    jobs = [
        *((seed * 1_000_003 + i, spoken[i : i + part], 0, config) for i in range(0, len(spoken), part)),
        *((seed * 2_000_003 + i, babble, min(part, noises - i), config) for i in range(0, noises, part)),
    ]
    with ProcessPoolExecutor(2) as pool:
        texts = sorted({text for _, text in plan} | {""})
        banks = [bank for banks in pool.map(_banks, jobs) for bank in banks]
        sounds = dict(zip(texts, pool.map(phonemes, texts, chunksize=64), strict=True))
    said = [*plan, *[(None, "")] * noises]
    firsts = np.cumsum([0, *(len(bank) for bank in banks)])
    recordings = [
        Recording(query, text, sounds[text], int(first), len(bank))
        for (query, text), first, bank in zip(said, firsts[:-1], banks, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "recordings.npy", np.concatenate(banks))
    (folder / "recordings.pickle").write_bytes(pickle.dumps(recordings))


def _banks(job: tuple[int, Sequence[Samples], int, AudioConfig]) -> list[NDArray[np.float16]]:
    """Turn speech, or as many noises as are asked for, into filter banks."""
    seed, spoken, noises, config = job
    rng = np.random.default_rng(seed)
    if noises:
        sounds = [random_noise_sound(rng, spoken) for _ in range(noises)]
    else:
        sounds = [in_a_room(samples, rng) for samples in spoken]
    return [fbank(rounded(samples, rng), config).astype(np.float16) for samples in sounds]


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
