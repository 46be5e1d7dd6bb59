"""Each mode ends when it is told to."""

import pytest

from tests.conftest import ASSETS
from vita_demo.commands.compare.modes import MODES, TOGETHER
from vita_demo.errors import ComparisonError
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request
from vita_demo.scheduling import scheduler


@pytest.mark.parametrize("name", MODES)
def test_a_signal_ends_every_mode_early(name: str, embedded_pipeline) -> None:
    signal = StopSignal()
    signal.request("cancelled")
    request = Request(question="Describe this image.", image_paths=(ASSETS / "scene.png",))
    run = MODES[name](embedded_pipeline, request, GenerationOptions(max_new_tokens=400), signal)
    # Of several answers, the first may not have got its first token yet.
    assert (name != "together") <= len(run.token_ids) < 400


def test_answers_made_together_are_timed_as_one(embedded_pipeline) -> None:
    request, options = Request(question="hi"), GenerationOptions(max_new_tokens=20)
    run = MODES["together"](embedded_pipeline, request, options, StopSignal())
    alone = MODES["blocking"](embedded_pipeline, request, options, StopSignal())
    assert (run.token_ids, run.text) == (alone.token_ids, alone.text)
    assert run.stats.tokens == TOGETHER * alone.stats.tokens
    assert run.stats.ttft_s <= run.stats.ttft_text_s
    assert run.stats.ttft_s + run.stats.decode_s <= run.stats.total_s


def test_answers_made_together_that_differ_are_refused(embedded_pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = scheduler._sample

    def alter(jobs, logits):
        tokens = choose(jobs, logits)
        return [*tokens[:-1], tokens[-1]._replace(token_id=5)] if len(tokens) == TOGETHER else tokens

    monkeypatch.setattr(scheduler, "_sample", alter)
    options = GenerationOptions(max_new_tokens=60, min_new_tokens=60)
    with pytest.raises(ComparisonError, match="differ from one another"):
        MODES["together"](embedded_pipeline, Request(question="hi"), options, StopSignal())
