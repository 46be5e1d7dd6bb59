"""One token through the step of fixed shapes equals one token through the modules."""

import logging

import pytest
import torch
from torch import Tensor

from tests.generation.fakes import LateSlot
from tests.model.fakes import CONFIG, IDS, SHAPES, Tape, close, filled_cache, make_model, through_the_modules
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.run_ahead import Readback, generate_ahead
from vita_demo.generation.sampling import make_sampler
from vita_demo.model.decode.gpu_step import GpuStep
from vita_demo.model.language_model import KVCache, LanguageModel


@pytest.mark.parametrize("shape", SHAPES)
@torch.inference_mode()
def test_every_step_gives_the_modules_logits(shape: str) -> None:
    model = make_model(SHAPES[shape])
    ours, theirs = filled_cache(model, 9), filled_cache(model, 9)
    step = GpuStep(model, ours)
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
    assert ours.length == theirs.length


@torch.inference_mode()
def test_one_capture_serves_every_position_up_to_the_last() -> None:
    model, tape = make_model(), Tape()
    ours, theirs = filled_cache(model, 509, len(IDS)), filled_cache(model, 509, len(IDS))
    step = GpuStep(model, ours, tape)
    prepared = tape.replays
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
    assert (tape.captures, tape.replays - prepared) == (1, len(IDS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_replay_gives_the_very_logits_of_the_operations(dtype: torch.dtype) -> None:
    model = make_model(dtype=dtype)
    plain = GpuStep(model, filled_cache(model, 509))
    taped = GpuStep(model, filled_cache(model, 509), Tape())
    for token_id in map(torch.tensor, ([i] for i in IDS)):
        assert torch.equal(plain(token_id), taped(token_id))


@torch.inference_mode()
def test_steps_in_bfloat16_stay_within_its_precision() -> None:
    model = make_model(dtype=torch.bfloat16)
    ours, theirs = filled_cache(model, 9), filled_cache(model, 9)
    step = GpuStep(model, ours)
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS), 0.03)


@torch.inference_mode()
def test_a_capture_that_fails_is_said_once_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    model, tape = make_model(), Tape(RuntimeError("not permitted\nwhen stream is capturing"))
    with caplog.at_level(logging.WARNING):
        step, plain = GpuStep(model, filled_cache(model, 509), tape), GpuStep(model, filled_cache(model, 509))
        for token_id in map(torch.tensor, ([i] for i in IDS)):
            assert torch.equal(step(token_id), plain(token_id))
    assert tape.captures == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the decode step cannot be captured as a CUDA graph (not permitted): it runs slower"
    ]


@torch.inference_mode()
def test_a_capture_that_recorded_nothing_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    model, tape = make_model(), Tape(empty=True)
    with caplog.at_level(logging.WARNING):
        step, plain = GpuStep(model, filled_cache(model, 9), tape), GpuStep(model, filled_cache(model, 9))
        for token_id in map(torch.tensor, ([i] for i in IDS)):
            assert torch.equal(step(token_id), plain(token_id))
    assert (tape.captures, tape.replays) == (1, 2), "a replay for each probe, and none afterwards"
    [record] = caplog.records
    assert "it gives other results" in record.getMessage()


@torch.inference_mode()
def test_errors_of_the_model_itself_are_not_taken_for_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    monkeypatch.setattr(model.lm_head, "forward", lambda _x: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        GpuStep(model, filled_cache(model, 9), Tape())


@torch.inference_mode()
def test_a_truncated_cache_is_written_again() -> None:
    model = make_model()
    cache = filled_cache(model, 9)
    step = GpuStep(model, cache, Tape())
    first = step(torch.tensor([5])).clone()
    assert not torch.equal(step(torch.tensor([5])), first)
    cache.truncate(9)
    assert torch.equal(step(torch.tensor([5])), first)


class Ahead:
    """What a GPU's decoder does, with the step on the CPU."""

    runs_ahead = True

    def __init__(self, model: LanguageModel, cache: KVCache) -> None:
        self.model, self.cache, self.step = model, cache, GpuStep(model, cache, Tape())

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        return self.model(inputs_embeds, self.cache)

    def launch(self, token_id: Tensor, ahead: int) -> Tensor:
        return self.step.launch(token_id, self.cache.length + ahead)

    def commit(self) -> None:
        self.cache.length += 1


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("options", [{}, {"do_sample": True, "seed": 5, "temperature": 0.9}], ids=["greedy", "drawn"])
def test_a_second_turn_after_an_overshoot(depth: int, options: dict) -> None:
    """Both turns are those of one step at a time through the modules."""
    model = make_model()
    with torch.inference_mode():
        decoder = Ahead(model, model.allocate_cache(600))
        reference = model.allocate_cache(600)
    turns = [torch.randn(1, length, CONFIG.hidden_size) for length in (505, 6)]
    for prompt, count in zip(turns, (7, 20), strict=True):
        sampler = make_sampler(GenerationOptions(**options), frozenset(), torch.device("cpu"))
        tokens = generate_ahead(decoder, prompt, sampler, 30, Readback(depth, LateSlot))
        ids = [next(tokens).token_id for _ in range(count)]
        tokens.close()
        sampler, expected = make_sampler(GenerationOptions(**options), frozenset(), torch.device("cpu")), []
        with torch.inference_mode():
            logits = model(prompt, reference)
            for _ in range(count):
                expected.append(int(sampler(logits, torch.tensor([expected]))))
                if len(expected) < count:
                    logits = model(model.embed_tokens(torch.tensor(expected[-1:]))[None], reference)
        assert ids == expected
        assert decoder.cache.length == reference.length
