"""How well the miniature sees, hears and answers: on scenes, wordings, voices and sounds that it was not trained on.

The model is loaded from its files and answers through ``generate``, greedily, in float32: what is measured is what a
user of the files gets.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tools.train_vita_tiny import strangers
from tools.train_vita_tiny.album import outside_image, some_scene
from tools.train_vita_tiny.asking import Random, ask, choose, filled, spoken_queries, typed, word
from tools.train_vita_tiny.clips import frames, random_clip
from tools.train_vita_tiny.festival import FESTIVAL_VOICES, speak_festival
from tools.train_vita_tiny.judging import is_right
from tools.train_vita_tiny.lessons import NOISE, SPEECH, TEXT
from tools.train_vita_tiny.painting import draw
from tools.train_vita_tiny.queries import NOTHING, OUTSIDE, PICTURE, SAY, SMALL_TALK, VIDEO, Query, View
from tools.train_vita_tiny.side_talk import HELD_OUT_CHINESE, HELD_OUT_ENGLISH
from tools.train_vita_tiny.sounds import HELD_OUT_FAMILIES, add_room, random_noise_sound
from tools.train_vita_tiny.strangers import Drawing
from tools.train_vita_tiny.voices import HELD_OUT_SPEAKERS, Samples, random_voice, speak_many
from tools.train_vita_tiny.wordings import strange_wordings
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.audio import fbank
from vita_demo.preprocess.image import choose_grid, fit_frame, tile_image
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
        judged: whether the answer is right where several are.
    """

    kind: str
    query: Query | None
    expected: str
    answer: str
    judged: bool | None = None

    @property
    def right(self) -> bool:
        """Say whether the text is right, whatever the state token."""
        if self.judged is not None:
            return self.judged
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

    def answer(self, question: str, modality: str, images: Sequence[Image.Image], sound: Samples | None) -> str:
        """Answer, with the state token; pictures and frames are cut and padded as in use."""
        size, colour = self.config.vision.image_size, self.config.vision.mean_colour
        pixels = None
        if modality == "image":
            pixels = tile_image(images[0], size, choose_grid(*images[0].size, size))
        elif modality == "video":
            pixels = np.stack([fit_frame(image, size, colour) for image in images])
        prompt = build_prompt(
            question, self.tokenizer.encode, modality, 0 if pixels is None else len(pixels), sound is not None
        )
        seen = None if pixels is None else self.model.vision_encoder.normalize(torch.from_numpy(np.array(pixels)))
        heard: NDArray[np.float32] | None = None if sound is None else fbank(sound, self.config.audio)
        ids = self.model.generate(prompt.input_ids, images=seen, audios=heard, max_new_tokens=160)
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


Shown = tuple[View, str, list[Image.Image]]


def a_picture(rng: Random) -> Shown:
    """Draw a picture of the generator's."""
    scene = some_scene(rng)
    return scene, "image", [draw(scene)]


def a_film(rng: Random) -> Shown:
    """Draw a clip of the generator's."""
    clip = random_clip(rng)
    return clip, "video", frames(clip)


def an_outsider(rng: Random) -> Shown:
    """Draw something of the families that training does not use."""
    return OUTSIDE, "image", [outside_image(rng, held_out=True)]


def _typed(maker: Callable[[Random], Shown], intents: Sequence[str]) -> Callable[..., Iterator[Trial]]:
    def trials(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
        for _ in range(count):
            view, modality, images = maker(rng)
            query = ask(view, rng, intents)
            answer = candidate.answer(word(query, rng, held_out=True), modality, images, None)
            yield Trial(query.intent, query, TEXT + query.answer(view), answer)

    return trials


def _talk(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
    for _ in range(count):
        query = ask(NOTHING, rng, (*SMALL_TALK, "describe", "count"))
        answer = candidate.answer(word(query, rng, held_out=True), "text", [], None)
        yield Trial(query.intent, query, TEXT + query.answer(NOTHING), answer)


def _spoken(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
    recorded = set(spoken_queries())
    asked: list[tuple[Query, Shown]] = []
    while len(asked) < count:
        shown = (a_film if rng.random() < 0.25 else a_picture)(rng)
        query = ask(shown[0], rng)
        if query in recorded:
            asked.append((query, shown))
    items = [
        (word(query, rng, rng.random() < 0.5), random_voice(rng, HELD_OUT_SPEAKERS, query.language))
        for query, _ in asked
    ]
    for (query, (view, modality, images)), samples in zip(asked, speak_many(items), strict=True):
        answer = candidate.answer("", modality, images, add_room(samples, rng))
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
        _, modality, images = a_picture(rng)
        expected = NOISE + SAY["en"].no_question
        yield Trial(kind, None, expected, candidate.answer("", modality, images, sound))


_ASKED = ("describe", "kinds", "count", "count_noun", "colour_of", "kind_of", "where", "is_there", "background")
_COMPARED = ("bigger", "biggest", "smallest")
_PLAINLY_ASKED = ("describe", "count", "colour_of", "kind_of", "is_there")
_OF_FILMS = ("happens", "describe_video", "changed")


def _ask_about(drawing: Drawing, rng: Random, intents: Sequence[str] = ()) -> Query:
    """Draw a question in English about a stranger's drawing."""
    if not intents:
        intents = _OF_FILMS if drawing.happens else _ASKED + _COMPARED * (len(drawing.scene.shapes) > 1)
    return replace(ask(drawing.scene, rng, intents), language="en")


def _about(
    candidate: Candidate, rng: Random, drawn: Sequence[Drawing], strange: bool = False, kind: str = ""
) -> Iterator[Trial]:
    """Ask one question about each drawing; ``strange`` ones are only in wordings as strangers type them."""
    for drawing in drawn:
        query = _ask_about(drawing, rng, _PLAINLY_ASKED if kind else ())
        text = word(query, rng, held_out=True)
        if strange:
            text = typed(filled(choose(rng, strange_wordings("en", query.intent)), query), rng)
        modality = "video" if drawing.happens else "image"
        answer = candidate.answer(text, modality, drawing.images, None)
        expected = TEXT + (" ".join(drawing.happens) or query.answer(drawing.scene))
        yield Trial(kind or query.intent, query, expected, answer, is_right(query, drawing, answer[1:]))


def _drawn(
    maker: Callable[[Random, int], list[Drawing]], strange: bool = False
) -> Callable[[Candidate, Random, int], Iterator[Trial]]:
    return lambda candidate, rng, count: _about(candidate, rng, maker(rng, count), strange)


def _by(renderer: str) -> Callable[[Candidate, Random, int], Iterator[Trial]]:
    return _drawn(lambda rng, count: strangers.drawings(rng, renderer, count))


def _foreign(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
    """Ask aloud, with another synthesizer's voices, about plain drawings."""
    drawn = strangers.plain_pairs(rng, count)
    queries = [_ask_about(drawing, rng) for drawing in drawn]
    names = FESTIVAL_VOICES
    voices = [names[int(rng.integers(len(names)))] for _ in queries]
    spoken = speak_festival([(word(query, rng), voice) for query, voice in zip(queries, voices, strict=True)])
    for drawing, query, voice, samples in zip(drawn, queries, voices, spoken, strict=True):
        answer = candidate.answer("", "image", drawing.images, np.pad(samples, 3200))
        expected = SPEECH + query.answer(drawing.scene)
        yield Trial(voice, query, expected, answer, is_right(query, drawing, answer[1:]))


def _no_scenes(candidate: Candidate, rng: Random, count: int) -> Iterator[Trial]:
    """Show icons, words and photographs that are no scenes."""
    for _ in range(count):
        kind, image = strangers.no_scene(rng)
        query = replace(ask(OUTSIDE, rng, ("describe", "count", "kinds")), language="en")
        answer = candidate.answer(word(query, rng, held_out=True), "image", [image], None)
        yield Trial(kind, query, TEXT + query.answer(OUTSIDE), answer)


EXAMS = (
    Exam("questions about pictures", 0.95, _typed(a_picture, _QUESTIONS)),
    Exam("descriptions of pictures", 0.90, _typed(a_picture, ("describe",))),
    Exam("questions about videos", 0.90, _typed(a_film, VIDEO)),
    Exam("spoken questions, new voices", 0.90, _spoken),
    Exam("sounds that are no question", 0.97, _sounds),
    Exam("pictures from outside the world", 0.90, _typed(an_outsider, ("describe", "count", "kinds", "happens"))),
    Exam("talk without a picture", 0.90, _talk),
    Exam("strangers: two flat shapes, 448 px", 0.90, _drawn(strangers.plain_pairs)),
    *(Exam(f"strangers: drawn by {renderer}", 0.85, _by(renderer)) for renderer in strangers.RENDERERS),
    Exam("strangers: photographs of paper", 0.85, _drawn(strangers.photographs)),
    Exam("strangers: their wordings", 0.95, _drawn(strangers.plain_pairs, strange=True)),
    Exam("strangers: videos by ffmpeg", 0.85, _drawn(strangers.films)),
    Exam("strangers: voices of festival", 0.80, _foreign),
    Exam("strangers: no scenes", 0.90, _no_scenes),
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
