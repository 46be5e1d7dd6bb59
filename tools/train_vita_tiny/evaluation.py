"""How well the miniature sees, hears and answers: on scenes, wordings, voices and sounds that it was not trained on.

The model is loaded from its files and answers through ``generate``, greedily, in float32: what is measured is what a
user of the files gets.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tools.train_vita_tiny.album import Tiles, a_clip, a_large_scene, a_scene, an_outside
from tools.train_vita_tiny.asking import Random, ask, spoken_queries, word
from tools.train_vita_tiny.lessons import NOISE, SPEECH, TEXT
from tools.train_vita_tiny.queries import NOTHING, PICTURE, SAY, SMALL_TALK, VIDEO, Query, View
from tools.train_vita_tiny.side_talk import HELD_OUT_CHINESE, HELD_OUT_ENGLISH
from tools.train_vita_tiny.sounds import HELD_OUT_FAMILIES, add_room, random_noise_sound
from tools.train_vita_tiny.voices import HELD_OUT_SPEAKERS, Samples, random_voice, speak_many
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.audio import fbank
from vita_demo.prompt import build_prompt

_QUESTIONS = tuple(intent for intent in PICTURE if intent != "describe")
_SHAPE = re.compile(r"(?:small|medium|large) (\w+) (\w+)|(?:小|中等大小的|大)(..)(.形|正方形|三角形|十字|圆环)")


_COUNT = re.compile(r"one|two|three|four|five|[一两三四五]个图形")


@dataclass(frozen=True)
class Trial:
    """One question and what came of it.

    Attributes:
        kind: row of the table.
        query: what was asked; None for a sound that is no question.
        expected, answer: with their state tokens.
    """

    kind: str
    query: Query | None
    expected: str
    answer: str

    @property
    def right(self) -> bool:
        """Say whether the text is right, whatever the state token."""
        if self.query is None:
            return self.answer[:1] == self.expected[:1]
        if self.query.intent == "describe":
            return told(self.answer) == told(self.expected)
        return self.answer[1:] == self.expected[1:]

    @property
    def state_right(self) -> bool:
        """Say whether the state token is right."""
        return self.answer[:1] == self.expected[:1]


def told(description: str) -> tuple[object, ...]:
    """Return what a description says there is: number, colours and kinds; where it names none, its words."""
    shapes = sorted(tuple(filter(None, match.groups())) for match in _SHAPE.finditer(description))
    count = _COUNT.search(description)
    return (count and count[0], *shapes) if shapes else (description[1:],)


class Candidate:
    """The model under examination."""

    def __init__(self, folder: Path) -> None:
        pipeline = Pipeline.load(str(folder), device="cpu", dtype="float32")
        self.tokenizer, self.config, self.model = pipeline.tokenizer, pipeline.settings.config, pipeline.model

    def answer(self, question: str, modality: str, tiles: Tiles | None, sound: Samples | None) -> str:
        """Answer, with the state token."""
        count = 0 if tiles is None else len(tiles)
        prompt = build_prompt(question, self.tokenizer.encode, modality, count, sound is not None)
        pixels = None if tiles is None else self.model.vision_encoder.normalize(torch.from_numpy(np.array(tiles)))
        heard: NDArray[np.float32] | None = None if sound is None else fbank(sound, self.config.audio)
        ids = self.model.generate(prompt.input_ids, images=pixels, audios=heard, max_new_tokens=160)
        return self.tokenizer.decode(ids[0])


@dataclass(frozen=True)
class Exam:
    """Rows of questions of one kind.

    Attributes:
        name: what is examined.
        goal: share of right answers that is aimed at.
        trials: draws and puts ``count`` questions.
    """

    name: str
    goal: float
    trials: Callable[[Candidate, Random, int], Iterator[Trial]]


def _typed(
    maker: Callable[[Random], tuple[View, str, Tiles]], intents: Sequence[str]
) -> Callable[..., Iterator[Trial]]:
    def trials(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
        for _ in range(count):
            view, modality, tiles = maker(rng)
            query = ask(view, rng, intents)
            answer = candidate.answer(word(query, rng, held_out=True), modality, tiles, None)
            yield Trial(query.intent, query, TEXT + query.answer(view), answer)

    return trials


def _talk(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
    for _ in range(count):
        query = ask(NOTHING, rng, (*SMALL_TALK, "describe", "count"))
        answer = candidate.answer(word(query, rng, held_out=True), "text", None, None)
        yield Trial(query.intent, query, TEXT + query.answer(NOTHING), answer)


def _spoken(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
    recorded = set(spoken_queries())
    asked: list[tuple[Query, View, str, Tiles]] = []
    while len(asked) < count:
        view, modality, tiles = (a_clip if rng.random() < 0.25 else a_scene)(rng)
        query = ask(view, rng)
        if query in recorded:
            asked.append((query, view, modality, tiles))
    items = [
        (word(query, rng, rng.random() < 0.5), random_voice(rng, HELD_OUT_SPEAKERS, query.language))
        for query, *_ in asked
    ]
    for (query, view, modality, tiles), samples in zip(asked, speak_many(items), strict=True):
        answer = candidate.answer("", modality, tiles, add_room(samples, rng))
        yield Trial(f"{query.intent} ({query.language})", query, SPEECH + query.answer(view), answer)


def _sounds(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
    talk = [*HELD_OUT_ENGLISH, *HELD_OUT_CHINESE]
    languages = ["en"] * len(HELD_OUT_ENGLISH) + ["zh"] * len(HELD_OUT_CHINESE)
    chosen = rng.integers(len(talk), size=count // 5)
    spoken = speak_many([(talk[i], random_voice(rng, HELD_OUT_SPEAKERS, languages[i])) for i in chosen])
    for number in range(count):
        if number < len(spoken):
            kind, sound = "side talk", add_room(spoken[number], rng)
        else:
            kind, families = (
                ("held-out noises", HELD_OUT_FAMILIES) if number % 2 else ("noises of training's families", None)
            )
            sound = random_noise_sound(rng, spoken, families)
        _, modality, tiles = a_scene(rng)
        expected = NOISE + SAY["en"].no_question
        yield Trial(kind, None, expected, candidate.answer("", modality, tiles, sound))


def _outside(rng: Random) -> tuple[View, str, Tiles]:
    return an_outside(rng, held_out=True)


EXAMS = (
    Exam("questions about pictures", 0.95, _typed(a_scene, _QUESTIONS)),
    Exam("descriptions of pictures", 0.90, _typed(a_scene, ("describe",))),
    Exam("questions about pictures of many tiles", 0.95, _typed(a_large_scene, PICTURE)),
    Exam("questions about videos", 0.90, _typed(a_clip, VIDEO)),
    Exam("spoken questions, new voices", 0.90, _spoken),
    Exam("sounds that are no question", 0.97, _sounds),
    Exam("pictures from outside the world", 0.90, _typed(_outside, ("describe", "count", "kinds", "happens"))),
    Exam("talk without a picture", 0.90, _talk),
)


@dataclass(frozen=True)
class Result:
    """What came of one exam."""

    exam: Exam
    trials: tuple[Trial, ...]

    @property
    def share(self) -> float:
        """Share of right answers."""
        return float(np.mean([trial.right for trial in self.trials]))

    @property
    def state_share(self) -> float:
        """Share of right state tokens."""
        return float(np.mean([trial.state_right for trial in self.trials]))

    def by_kind(self) -> dict[str, tuple[int, float]]:
        """Return the number of trials and the share of right answers of each kind of question."""
        kinds: dict[str, list[bool]] = {}
        for trial in self.trials:
            kinds.setdefault(trial.kind, []).append(trial.right)
        return {kind: (len(right), float(np.mean(right))) for kind, right in sorted(kinds.items())}


def examine(folder: Path, count: int, seed: int, names: Sequence[str] = ()) -> Iterator[Result]:
    """Put ``count`` questions of each exam to the model in ``folder``; each exam has a processor core to itself."""
    numbers = [i for i, exam in enumerate(EXAMS) if not names or any(name in exam.name for name in names)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        trials = [pool.submit(_trials, folder, number, count, seed) for number in numbers]
        for number, made in zip(numbers, trials, strict=True):
            yield Result(EXAMS[number], made.result())


def _trials(folder: Path, number: int, count: int, seed: int) -> tuple[Trial, ...]:
    torch.set_num_threads(1)
    return tuple(EXAMS[number].trials(Candidate(folder), np.random.default_rng([seed, number]), count))
