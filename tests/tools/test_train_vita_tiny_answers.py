"""The answers that vita-tiny is taught are true, in both languages, whatever is shown."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tools.train_vita_tiny.asking import ask, spoken_queries, word
from tools.train_vita_tiny.clips import random_clip
from tools.train_vita_tiny.evaluation import Exam, Result, Trial, told
from tools.train_vita_tiny.off_topic import other_question
from tools.train_vita_tiny.queries import ANY, NOTHING, OUTSIDE, PICTURE, VIDEO, Noun, Query
from tools.train_vita_tiny.scenes import Scene, Shape, random_scene
from tools.train_vita_tiny.table import markdown
from tools.train_vita_tiny.wordings import WORDINGS, wordings


def shape(colour: str, kind: str, x: float, y: float, radius: float = 0.1) -> Shape:
    return Shape(kind, colour, x, y, radius, 0.0, (0, 0, 0))


SCENE = Scene(
    (shape("red", "circle", 0.2, 0.2, 0.15), shape("blue", "star", 0.1, 0.5), shape("blue", "circle", 0.5, 0.8)),
    "light green",
    (144, 238, 144),
    300,
    300,
    1,
)


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (Query("count"), "There are three shapes."),
        (Query("count_noun", noun=Noun(kind="circle")), "There are two circles."),
        (Query("count_noun", noun=Noun(colour="green")), "There are no green shapes."),
        (Query("colour_of", noun=Noun(kind="star")), "The star is blue."),
        (Query("colour_of", noun=Noun(kind="circle")), "There are two circles: red and blue."),
        (Query("colour_of", noun=Noun(kind="ring")), "There is no ring."),
        (Query("kind_of", noun=Noun("blue")), "There are two blue shapes: a star and a circle."),
        (Query("where", noun=Noun("blue", "star")), "The blue star is at the left."),
        (Query("at", place="bottom"), "There is a blue circle at the bottom."),
        (Query("at", place="centre"), "There is nothing in the centre."),
        (Query("is_there", noun=Noun("red", "star")), "No, there is no red star."),
        (Query("bigger", noun=Noun("red", "circle"), other=Noun(kind="star")), "The red circle is bigger."),
        (Query("biggest"), "The red circle is the biggest."),
        (Query("smallest"), "The blue star and the blue circle are the smallest."),
        (Query("background"), "The background is light green."),
        (Query("happens"), "This is a picture, so nothing happens in it."),
        (Query("count", "zh"), "有三个图形。"),
        (Query("where", "zh", Noun(kind="star")), "星形在左边。"),
        (Query("is_there", "zh", Noun("red", "star")), "没有，没有红色星形。"),
        (
            Query("describe"),
            (
                "There are three shapes on a light green background. A large red circle is at the top left. "
                "A medium blue star is at the left. A medium blue circle is at the bottom."
            ),
        ),
    ],
)
def test_an_answer_is_what_the_scene_shows(query: Query, answer: str) -> None:
    assert query.answer(SCENE) == answer


def test_every_question_has_an_answer_about_everything() -> None:
    rng = np.random.default_rng(4)
    views = [random_scene(rng), replace(random_scene(rng), shapes=()), NOTHING, OUTSIDE]
    views += [random_clip(rng, action) for action in ("moves", "appears", "disappears", "changes colour", "grows")]
    for query in spoken_queries():
        for view in views:
            assert len(query.answer(view)) > 2
            for sort in ({}, {"held_out": True}, {"later": True}):
                text = word(query, rng, **sort)
                assert "{" not in text
                assert bool(re.search("[\u4e00-\u9fff]", text)) == (query.language == "zh")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_some_wordings_are_kept_for_the_evaluation(language: str) -> None:
    for intent in WORDINGS[language]:
        sorts = ({}, {"held_out": True}, {"later": True})
        first, kept, later = (set(wordings(language, intent, **sort)) for sort in sorts)
        assert kept
        assert later
        assert not kept & (first | later)
        assert not first & later


def test_a_moving_shape_is_told_with_its_direction() -> None:
    clip = random_clip(np.random.default_rng(1), "moves")
    answer = Query("happens").answer(clip)
    assert clip.before is not None
    assert f"{clip.before.colour} {clip.before.kind} moves" in answer
    assert str(clip.event.direction) in answer
    assert answer in Query("describe_video").answer(clip)


def test_asking_is_balanced() -> None:
    rng = np.random.default_rng(2)
    queries = [(ask(scene, rng), scene) for scene in (random_scene(rng) for _ in range(3000))]
    said = [
        query.answer(scene)[:3] for query, scene in queries if query.intent == "is_there" and query.language == "en"
    ]
    assert 0.3 < np.mean([answer == "Yes" for answer in said]) < 0.7
    assert {query.intent for query, _ in queries} >= set(PICTURE)
    assert not {query.intent for query, _ in queries} & (set(VIDEO) - {"happens", "changed"})
    assert all(query.noun is not ANY for query, _ in queries if query.intent == "where")


def test_the_advanced_are_asked_for_lists_and_comparisons() -> None:
    rng = np.random.default_rng(9)
    hard = {"biggest", "smallest", "bigger", "colours", "kind_of", "colour_of", "kinds"}
    shares = [
        np.mean([ask(random_scene(rng), rng, advanced=advanced).intent in hard for _ in range(1000)])
        for advanced in (False, True)
    ]
    assert shares[0] + 0.1 < shares[1] < 0.9


def test_a_description_is_judged_by_shapes_colours_and_count() -> None:
    right = Query("describe").answer(SCENE)
    assert told("☜" + right) == told("☞" + right.replace("light green", "light blue"))
    for wrong in (
        ("red", "green"),
        ("star", "ring"),
        ("three", "two"),
        (" A medium blue circle is at the bottom.", ""),
    ):
        assert told("☜" + right.replace(*wrong)) != told("☜" + right)
    chinese = Query("describe", "zh").answer(SCENE)
    assert told("☜" + chinese) != told("☜" + chinese.replace("红色", "绿色", 1))


def test_results_are_counted_by_exam_and_by_kind() -> None:
    query = Query("count")
    right = Trial("count", query, "☜There is one shape.", "☜There is one shape.")
    wrong = Trial("count", query, "☜There is one shape.", "☞There are two shapes.")
    spoken = Trial("where", Query("where"), "☞The star is at the top.", "☜The star is at the top.")
    exam = Exam("all sorts", 0.9, lambda *_: iter(()))
    text = markdown([Result(exam, (right, wrong, spoken, right))])
    assert "| all sorts | 4 | 75.0% | 90% | 50.0% |" in text
    assert "- all sorts: count 67% of 3, where 100% of 1." in text


def test_questions_about_other_things_are_none_of_those_kept_for_the_evaluation() -> None:
    rng = np.random.default_rng(3)
    for language in ("en", "zh"):
        asked = {other_question(language, rng) for _ in range(2000)}
        assert len(asked) > 20
        assert not asked & set(wordings(language, "off_topic", True))
