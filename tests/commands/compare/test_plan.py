"""Every mode gives the same answer, and a run that does not is found."""

from dataclasses import replace

import pytest

from tests.commands.compare.fakes import make_comparison, make_run
from tests.conftest import ASSETS
from vita_demo.commands.compare.modes import MODES, TOGETHER
from vita_demo.commands.compare.plan import Plan, find_difference
from vita_demo.commands.compare.record import token_times_s
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request

PICTURE = Request(question="Describe this image.", image_paths=(ASSETS / "scene.png",))
VOICE = Request(audio_path=ASSETS / "question.wav")
SAMPLED = {"do_sample": True, "temperature": 1.2, "seed": 0}


@pytest.mark.parametrize(
    ("request_", "values"), [(PICTURE, {}), (VOICE, SAMPLED)], ids=["picture, greedy", "voice, sampled"]
)
def test_every_mode_gives_the_same_answer(request_: Request, values: dict, embedded_pipeline) -> None:
    options = GenerationOptions(max_new_tokens=8, **values)
    order: list[str] = []
    comparison = Plan(runs=2).compare(embedded_pipeline, request_, options, order.append)
    assert order == [*MODES] * 3
    assert comparison.difference is None
    assert [(mode.name, len(mode.runs)) for mode in comparison.modes] == [(name, 2) for name in MODES]
    alone = embedded_pipeline.generate(request_, options)
    for mode in comparison.modes:
        for run in mode.runs:
            assert (run.token_ids, run.text) == (alone.token_ids, alone.text)
            times_s = token_times_s(run.stats)
            assert len(times_s) == 8 * (TOGETHER if mode.name == "together" else 1)
            assert times_s[-1] <= run.stats.total_s


@pytest.mark.parametrize(
    ("token_ids", "text", "words"),
    [
        ((5, 9, 7), "a b c", "at step 1: id 9 in …'5 9 7' instead of id 6 in …'5 6 7'"),
        ((5, 6), "a b", "at step 2: no token in …'5 6' instead of id 7 in …'5 6 7'"),
        ((5, 6, 7), "a b", ": the token ids are equal but the text is …'a b' instead of …'a b c'"),
    ],
)
def test_a_difference_names_mode_run_and_step(token_ids: tuple[int, ...], text: str, words: str) -> None:
    comparison = make_comparison(blocking=(1.0, 1.0), iterator=(1.0, 1.0))
    blocking, iterator = comparison.modes
    changed = replace(iterator, runs=(iterator.runs[0], make_run(1.0, token_ids, text)))
    difference = find_difference(replace(comparison, modes=(blocking, changed)), lambda ids: " ".join(map(str, ids)))
    assert difference.describe() == f"iterator differs from blocking in run 2{'' if words[0] == ':' else ' '}{words}"


def test_a_long_answer_is_quoted_around_the_difference_only() -> None:
    comparison = make_comparison(blocking=(1.0,), iterator=(1.0,))
    ids = tuple(range(100))
    runs = [make_run(1.0, ids, "x" * 100), make_run(1.0, (*ids[:50], 7, *ids[51:]), "x" * 100)]
    modes = tuple(replace(mode, runs=(run,)) for mode, run in zip(comparison.modes, runs, strict=True))
    difference = find_difference(replace(comparison, modes=modes), str)
    assert difference.text == "(44, 45, 46, 47, 48, 49, 7, 51, 52)"
    assert difference.expected_text == "(44, 45, 46, 47, 48, 49, 50, 51, 52)"
