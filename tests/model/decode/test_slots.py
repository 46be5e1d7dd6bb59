"""Several sequences in one step have the logits that each has alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.fakes import SHAPES, WIDE, Tape, close, make_model
from vita_demo.model.decode.batch_step import BatchStep
from vita_demo.model.decode.slots import Slots
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.quantize.int8 import Int8Linear
from vita_demo.model.quantize.replace import quantize_in_place


def make_prompt(model: LanguageModel, length: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, length, model.config.hidden_size, generator=generator).to(model.norm.weight.dtype)


@torch.inference_mode()
def both(model: LanguageModel, slots: Sequence[int], lengths: Sequence[int], steps: int = 5, capture=None):
    """The logits of each row of each step, in one step and through the modules alone."""
    together = Slots(model, 8, 400, capture)
    caches = {slot: model.allocate_cache(400) for slot in slots}
    for slot, length in zip(slots, lengths, strict=True):
        prompt = make_prompt(model, length, slot)
        assert torch.equal(together.prefill(slot, prompt), model(prompt, caches[slot]))
    ours, theirs = [], []
    for step in range(steps):
        ids = torch.tensor([(7 * step + 3 * slot) % model.config.vocab_size for slot in slots])
        ours += together.step(slots, ids).clone().split(1)
        theirs += [model(model.embed_tokens(i)[None], caches[s]) for s, i in zip(slots, ids.split(1), strict=True)]
    assert [together.length(slot) for slot in slots] == [caches[slot].length for slot in slots]
    return ours, theirs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("slots", "lengths"),
    [
        ([0, 1], [9, 9]),
        ([2, 0, 5, 1], [9, 3, 300, 1]),
        ([7, 6, 5, 4, 3, 2, 1, 0], [1, 390, 2, 3, 389, 9, 9, 8]),
        ([4], [7]),
    ],
)
def test_rows_have_the_logits_that_they_have_alone(shape: str, slots: list[int], lengths: list[int]) -> None:
    assert close(*both(make_model(SHAPES[shape]), slots, lengths), 1e-4)


def test_rows_in_bfloat16_stay_within_its_precision() -> None:
    assert close(*both(make_model(dtype=torch.bfloat16), [1, 2, 4], [9, 3, 300]), 0.03)


def test_rows_in_float16_go_through_the_modules() -> None:
    assert close(*both(make_model(dtype=torch.float16), [1, 2, 4], [9, 3, 20]), 0.01)


@pytest.mark.parametrize("by_numba", [True, False])
@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_quantized_rows_have_the_logits_that_they_have_alone(quantize: str, by_numba: bool, use_profile) -> None:
    use_profile(int8_by_numba=by_numba, int4_by_numba=by_numba)
    model = make_model(replace(WIDE, hidden_size=768, intermediate_size=1024))
    quantize_in_place(model, quantize)
    # The kernels round x to 8 bits or to 14.
    assert close(*both(model, [3, 0, 1], [20, 3, 7]), 0.03 if by_numba else 0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_captured_steps_have_the_logits_that_they_have_alone(shape: str) -> None:
    tape = Tape()
    assert close(*both(make_model(SHAPES[shape]), [4, 0, 2], [9, 1, 300], capture=tape), 1e-4)
    assert tape.captures == 3, "for 2, 4 and 8 rows"


@torch.inference_mode()
def test_rows_that_are_not_asked_for_change_nothing_in_their_slots() -> None:
    """Neither in one that is being filled nor in one that is full."""
    model, full = make_model(), 20
    slots = Slots(model, 4, full, Tape())
    alone = {slot: model.allocate_cache(full) for slot in range(4)}
    for slot, length in enumerate((7, full, 9, full - 1)):
        slots.prefill(slot, make_prompt(model, length, slot))
        model(make_prompt(model, length, slot), alone[slot])
    for _ in range(3):
        slots.step([0, 2], torch.tensor([5, 6]))
        for slot, token in ((0, 5), (2, 6)):
            model(model.embed_tokens(torch.tensor([token]))[None], alone[slot])
    slots.truncate(1, full - 1)
    ours = slots.step([0, 1, 2, 3], torch.tensor([1, 2, 3, 4]))
    alone[1].truncate(full - 1)
    theirs = [model(model.embed_tokens(torch.tensor([slot + 1]))[None], alone[slot]) for slot in range(4)]
    assert close([*ours.split(1)], theirs, 1e-4)


@torch.inference_mode()
def test_without_numba_rows_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchStep, "__call__", lambda *_: 1 / 0)
    assert close(*both(make_model(), [2, 0], [9, 4]))


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 3), st.integers(1, 40)),
        st.tuples(st.just("leave"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("truncate"), st.integers(0, 3), st.integers(1, 60)),
        st.tuples(st.just("step"), st.just(0), st.integers(1, 12)),
    ),
    min_size=8,
    max_size=30,
)


@pytest.mark.parametrize("quantize", [None, "int8"])
@settings(max_examples=40, deadline=None)
@given(moves=MOVES)
@torch.inference_mode()
def test_whoever_joins_and_leaves_each_has_the_ids_that_it_has_alone(
    models: dict[str | None, LanguageModel], quantize: str | None, moves: list[tuple[str, int, int]]
) -> None:
    model = models[quantize]
    slots, alone, last = Slots(model, 4, 300), [model.allocate_cache(300) for _ in range(4)], {}
    for move, slot, number in moves:
        if move == "join" and slot not in last:
            prompt = make_prompt(model, number, 100 * slot + number)
            model(prompt, alone[slot])
            last[slot] = int(slots.prefill(slot, prompt).argmax())
        elif move == "leave" and slot in last:
            del last[slot]
            slots.truncate(slot, 0)
            alone[slot].truncate(0)
        elif move == "truncate" and slot in last:
            slots.truncate(slot, number)
            alone[slot].truncate(number)
        for _ in range(number if move == "step" and last else 0):
            ids = slots.step([*last], torch.tensor([*last.values()])).argmax(1).tolist()
            for (row, token), found in zip(last.items(), ids, strict=True):
                assert int(model(model.embed_tokens(torch.tensor([token]))[None], alone[row]).argmax()) == found
            last = dict(zip(last, ids, strict=True))


@pytest.fixture(scope="module")
def models() -> dict[str | None, LanguageModel]:
    quantized = make_model(WIDE)
    quantize_in_place(quantized, "int8")
    for layer in quantized.modules():
        if isinstance(layer, Int8Linear):
            # torch's kernel rounds x to bfloat16, so that near-ties may part.
            layer.by_numba = True
    return {None: make_model(), "int8": quantized}
