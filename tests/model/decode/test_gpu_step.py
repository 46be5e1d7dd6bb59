"""One token through the step of fixed shapes equals one token through the modules."""

import logging
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.generation.test_run_ahead import LateSlot
from tests.model.decode.test_cpu_step import SHAPES, make_model
from tests.model.test_language_model import CONFIG
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.run_ahead import Readback, generate_ahead
from vita_demo.generation.sampling import make_sampler
from vita_demo.model.decode import gpu_step as bucket_step
from vita_demo.model.decode import step_ways
from vita_demo.model.decode.attention import agrees, masked_attention
from vita_demo.model.decode.gpu_step import BucketStep, bucket_of
from vita_demo.model.language_model import KVCache, LanguageModel

IDS = [3, 96, 0, 41, 41, 7]


class Tape:
    """Stands in for a GPU's graphs: notes what was captured, and runs it again when replayed."""

    def __init__(self, error: Exception | None = None, empty: bool = False) -> None:
        self.error, self.empty, self.captures, self.replays = error, empty, 0, 0

    def __call__(self, call: Callable[[], object]) -> Callable[[], object]:
        self.captures += 1
        if self.error is not None:
            raise self.error

        def replay() -> None:
            self.replays += 1
            if not self.empty:
                call()

        return replay


def filled_cache(model: LanguageModel, positions: int, room: int = 40) -> KVCache:
    """A cache whose unfilled part holds what no computation survives."""
    cache = model.allocate_cache(positions + room)
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("inf"))
    prompt = torch.randn(1, positions, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    model(prompt.to(cache.keys.dtype), cache)
    return cache


def only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps be taken in one way, whichever is the fastest; it must be there."""
    monkeypatch.setattr(BucketStep, "_fastest", lambda _, calls: next(way for way in calls if way.name == name))


@torch.inference_mode()
def through_the_modules(model: LanguageModel, cache: KVCache, ids: list[int]) -> list[Tensor]:
    return [model(model.embed_tokens(torch.tensor([token_id]))[None], cache) for token_id in ids]


def close(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(float((one - other).abs().max()) <= tolerance * float(other.abs().max()) for one, other in pairs)


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
    step = BucketStep(model, ours)
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
    assert ours.length == theirs.length


@pytest.mark.parametrize("edge", [512, 1024])
@torch.inference_mode()
def test_steps_on_both_sides_of_a_buckets_edge_give_the_modules_logits(edge: int) -> None:
    model, tape = make_model(), Tape()
    ours, theirs = filled_cache(model, edge - 3), filled_cache(model, edge - 3)
    step = BucketStep(model, ours, tape)
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
    assert (tape.captures, tape.replays) == (2, 2 + 4), "one replay of each capture is a check"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_replay_gives_the_very_logits_of_the_operations(dtype: torch.dtype) -> None:
    model = make_model(dtype=dtype)
    plain = BucketStep(model, filled_cache(model, 509))
    taped = BucketStep(model, filled_cache(model, 509), Tape())
    for token_id in map(torch.tensor, ([i] for i in IDS)):
        assert torch.equal(plain(token_id), taped(token_id))


@torch.inference_mode()
def test_steps_in_bfloat16_stay_within_its_precision() -> None:
    model = make_model(dtype=torch.bfloat16)
    ours, theirs = filled_cache(model, 9), filled_cache(model, 9)
    step = BucketStep(model, ours)
    assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS), 0.03)


@torch.inference_mode()
def test_a_capture_that_fails_is_said_once_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    model, tape = make_model(), Tape(RuntimeError("not permitted\nwhen stream is capturing"))
    step, plain = BucketStep(model, filled_cache(model, 509), tape), BucketStep(model, filled_cache(model, 509))
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
    step, plain = BucketStep(model, filled_cache(model, 9), tape), BucketStep(model, filled_cache(model, 9))
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

    monkeypatch.setattr(step_ways, "fused", lambda _: broken)
    model = make_model()
    step, plain = (
        BucketStep(model, filled_cache(model, 509), compiled=True),
        BucketStep(model, filled_cache(model, 509)),
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
    step = BucketStep(model, filled_cache(model, 9), Tape())
    monkeypatch.setattr(model.lm_head, "forward", lambda _x: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        step(torch.tensor([1]))


@torch.inference_mode()
def test_a_truncated_cache_is_written_again() -> None:
    model = make_model()
    cache = filled_cache(model, 9)
    step = BucketStep(model, cache, Tape())
    first = step(torch.tensor([5])).clone()
    assert not torch.equal(step(torch.tensor([5])), first)
    cache.truncate(9)
    assert torch.equal(step(torch.tensor([5])), first)


@torch.inference_mode()
def test_preparing_is_timed() -> None:
    model = make_model()
    BucketStep(model, filled_cache(model, 9), Tape())(torch.tensor([5]))
    assert model.prepared_s["capture"] > 0
    assert model.prepared_s["compile"] == 0


class Ahead:
    """What a GPU's decoder does, with the step on the CPU."""

    runs_ahead = True

    def __init__(self, model: LanguageModel, cache: KVCache) -> None:
        self.model, self.cache, self.bucket_step = model, cache, BucketStep(model, cache, Tape())

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        return self.model(inputs_embeds, self.cache)

    def launch(self, token_id: Tensor, ahead: int) -> Tensor:
        return self.bucket_step.launch(token_id, self.cache.length + ahead)

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
    monkeypatch.setattr(bucket_step, "FIRST_BUCKET", 16)
    only("torch's compiler", monkeypatch)
    model = make_model()
    for room in (30, 57):
        ours, theirs = filled_cache(model, 13, room), filled_cache(model, 13, room)
        step = BucketStep(model, ours, compiled=True)
        assert close([step(torch.tensor([i])).clone() for i in IDS], through_the_modules(model, theirs, IDS))
    assert model.prepared_s["compile"] > 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 4, (
        "one of each for all layers, buckets and capacities"
    )
