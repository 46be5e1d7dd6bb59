"""One token through the step of fixed shapes equals one token through the modules."""

import logging
import shutil

import pytest
import torch
from torch import Tensor

from tests.generation.fakes import LateSlot
from tests.model.fakes import CONFIG, IDS, SHAPES, Tape, close, filled_cache, make_model, only, through_the_modules
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.run_ahead import Readback, generate_ahead
from vita_demo.generation.sampling import make_sampler
from vita_demo.model.decode import gpu_step, torch_step
from vita_demo.model.decode.attention import agrees, masked_attention
from vita_demo.model.decode.gpu_step import GpuStep, bucket_of
from vita_demo.model.language_model import KVCache, LanguageModel


@pytest.mark.parametrize(
    ("positions", "bucket"), [(1, 512), (512, 512), (513, 1024), (1024, 1024), (1025, 2048), (4096, 4096), (4097, 8192)]
)
def test_a_bucket_holds_as_many_positions_as_it_says(positions: int, bucket: int) -> None:
    assert bucket_of(positions) == bucket


@pytest.mark.parametrize("shape", SHAPES)
@torch.inference_mode()
def test_every_step_gives_the_modules_logits(shape: str) -> None:
    model = make_model(SHAPES[shape])
    ours, theirs = filled_cache(model, 9), filled_cache(model, 9)
    step = GpuStep(model, ours)
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
    assert ours.length == theirs.length


@pytest.mark.parametrize("edge", [512, 1024])
@torch.inference_mode()
def test_steps_on_both_sides_of_a_buckets_edge_give_the_modules_logits(edge: int) -> None:
    model, tape = make_model(), Tape()
    ours, theirs = filled_cache(model, edge - 3), filled_cache(model, edge - 3)
    step = GpuStep(model, ours, tape)
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
    assert (tape.captures, tape.replays) == (2, 2 + 4), "one replay of each capture is a check"


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
    step, plain = GpuStep(model, filled_cache(model, 509), tape), GpuStep(model, filled_cache(model, 509))
    with caplog.at_level(logging.WARNING):
        for token_id in map(torch.tensor, ([i] for i in IDS)):
            assert torch.equal(step(token_id), plain(token_id))
    assert tape.captures == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the decode step cannot be captured as a CUDA graph (not permitted): it runs slower, with the same tokens"
    ]


@torch.inference_mode()
def test_a_capture_that_recorded_nothing_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    model, tape = make_model(), Tape(empty=True)
    step, plain = GpuStep(model, filled_cache(model, 9), tape), GpuStep(model, filled_cache(model, 9))
    with caplog.at_level(logging.WARNING):
        for token_id in map(torch.tensor, ([i] for i in IDS)):
            assert torch.equal(step(token_id), plain(token_id))
    assert (tape.captures, tape.replays) == (1, 1)
    [record] = caplog.records
    assert "it gives other logits" in record.getMessage()


@torch.inference_mode()
def test_a_compiler_that_fails_is_said_once_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no working C++ compiler was found")

    monkeypatch.setattr(torch_step, "fused", lambda _: broken)
    model = make_model()
    step, plain = (
        GpuStep(model, filled_cache(model, 509), compiled=True),
        GpuStep(model, filled_cache(model, 509)),
    )
    with caplog.at_level(logging.WARNING):
        for token_id in map(torch.tensor, ([i] for i in IDS)):
            assert torch.equal(step(token_id), plain(token_id))
    [record] = caplog.records
    reason = "cannot use torch's compiler (no working C++ compiler was found)"
    assert record.getMessage() == f"the decode step {reason}: it runs slower, with the same tokens"


@torch.inference_mode()
def test_errors_of_the_model_itself_are_not_taken_for_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    step = GpuStep(model, filled_cache(model, 9), Tape())
    monkeypatch.setattr(model.lm_head, "forward", lambda _x: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        step(torch.tensor([1]))


@torch.inference_mode()
def test_a_truncated_cache_is_written_again() -> None:
    model = make_model()
    cache = filled_cache(model, 9)
    step = GpuStep(model, cache, Tape())
    first = step(torch.tensor([5])).clone()
    assert not torch.equal(step(torch.tensor([5])), first)
    cache.truncate(9)
    assert torch.equal(step(torch.tensor([5])), first)


@torch.inference_mode()
def test_preparing_is_timed() -> None:
    model = make_model()
    step = GpuStep(model, filled_cache(model, 9), Tape())
    assert not step.prepared_s
    step(torch.tensor([5]))
    assert step.prepared_s.keys() == {"capture"}
    assert step.prepared_s["capture"] > 0


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
def test_a_second_turn_after_an_overshoot_over_a_buckets_edge(depth: int, options: dict) -> None:
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


@torch.inference_mode()
def test_another_attention_is_taken_only_if_it_works_and_agrees() -> None:
    inputs = tuple(torch.randn(heads, *room, 8) for heads, room in ((4, ()), (2, (1024,)), (2, (1024,))))

    def masked(position: Tensor, bucket: int):
        return masked_attention(torch.float32, position, bucket)

    def absent(position: Tensor, bucket: int):
        raise AttributeError("no such operation")

    assert agrees(masked, masked, inputs)
    assert not agrees(lambda position, bucket: masked(position + 1, bucket), masked, inputs)
    assert not agrees(absent, masked, inputs)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@torch.inference_mode()
def test_a_compiled_step_gives_the_modules_logits_in_every_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_step, "FIRST_BUCKET", 16)
    only("torch's compiler", monkeypatch)
    model = make_model()
    for room in (30, 57):
        ours, theirs = filled_cache(model, 13, room), filled_cache(model, 13, room)
        step = GpuStep(model, ours, compiled=True)
        assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
        assert step.prepared_s["compile"] > 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 4, (
        "one of each for all layers, buckets and capacities"
    )
