"""A captured prompt fills the cache as the modules do, and gives their logits."""

import logging
from collections.abc import Callable
from threading import Thread
from time import sleep

import pytest
import torch
from torch import Tensor

from tests.model.fakes import SHAPES, Tape, close, make_model, through_the_modules
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.prefill import Prefill
from vita_demo.model.decode.slots import Slots
from vita_demo.model.language_model import KVCache, LanguageModel

CAPACITY = 540


def make_prompt(model: LanguageModel, length: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, length, model.config.hidden_size, generator=generator).to(model.norm.weight.dtype)


def prepared(model: LanguageModel, tape: Callable) -> Prefill:
    prefill = Prefill(model)
    prefill.prepare(tape)
    return prefill


def agree(ours: KVCache, theirs: KVCache) -> bool:
    filled = [
        [getattr(cache, name)[:, :, :, : cache.length] for name in ("keys", "values")] for cache in (ours, theirs)
    ]
    return ours.length == theirs.length and close(*filled)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 256, 511, 512])
@torch.inference_mode()
def test_a_prompt_gives_the_modules_logits_and_the_answer_goes_on(shape: str, length: int) -> None:
    model, tape = make_model(SHAPES[shape]), Tape()
    prefill, theirs = prepared(model, tape), model.allocate_cache(CAPACITY)
    decoder = Decoder(model, model.allocate_cache(CAPACITY), prefill=prefill)
    made, prompt = tape.replays, make_prompt(model, length)
    assert close([decoder.prefill(prompt)], [model(prompt, theirs)])
    assert tape.replays == made + 1
    assert agree(decoder.cache, theirs)
    ids = [3, 96, 0, 41]
    steps = [decoder.step(torch.tensor([token_id])).clone() for token_id in ids]
    assert close(steps, through_the_modules(model, theirs, ids), 1e-4)


@torch.inference_mode()
def test_long_prompts_and_later_ones_are_read_by_the_modules() -> None:
    model, tape = make_model(), Tape()
    decoder, theirs = (
        Decoder(model, model.allocate_cache(600), prefill=prepared(model, tape)),
        model.allocate_cache(600),
    )
    made = tape.replays
    for length in (513, 7):
        prompt = make_prompt(model, length)
        assert torch.equal(decoder.prefill(prompt), model(prompt, theirs))
    assert tape.replays == made
    decoder.cache.truncate(0)
    decoder.prefill(make_prompt(model, 7))
    assert tape.replays == made + 1


@torch.inference_mode()
def test_nothing_remains_of_an_earlier_prompt() -> None:
    """Neither of a longer one nor of one that was no numbers."""
    model = make_model()
    decoder = Decoder(model, model.allocate_cache(CAPACITY), prefill=prepared(model, Tape()))
    first = decoder.prefill(make_prompt(model, 5))
    for other in (make_prompt(model, 60, seed=2), torch.full_like(make_prompt(model, 64), float("nan"))):
        decoder.cache.truncate(0)
        assert not torch.equal(decoder.prefill(other), first)
        decoder.cache.truncate(0)
        assert torch.equal(decoder.prefill(make_prompt(model, 5)), first)


@torch.inference_mode()
def test_slots_in_turn_do_not_disturb_each_other() -> None:
    model, tape, lengths = make_model(), Tape(), {2: 70, 0: 3, 1: 200}
    slots = Slots(model, 3, CAPACITY, prefill=prepared(model, tape))
    caches = {slot: model.allocate_cache(CAPACITY) for slot in lengths}
    made = tape.replays
    for slot, length in lengths.items():
        prompt = make_prompt(model, length, slot)
        assert close([slots.prefill(slot, prompt)], [model(prompt, caches[slot])])
    assert tape.replays == made + 3
    for token in (5, 41):
        ours = slots.step([*lengths], torch.tensor([token] * 3)).clone()
        theirs = [through_the_modules(model, caches[slot], [token])[0] for slot in lengths]
        assert close([*ours.split(1)], theirs, 1e-4)
    assert [slots.length(slot) for slot in lengths] == [length + 2 for length in lengths.values()]


def test_prompts_of_several_threads_do_not_mix() -> None:
    model = make_model()

    def dawdle(call: Callable[[], object]) -> Callable[[], object]:
        return lambda: (sleep(0.002), call())

    prefill, found = prepared(model, dawdle), dict[int, Tensor]()

    def read(seed: int) -> None:
        with torch.inference_mode():
            found[seed] = prefill(make_prompt(model, 20 + seed, seed), model.allocate_cache(30))

    threads = [Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with torch.inference_mode():
        expected = [model(make_prompt(model, 20 + seed, seed), model.allocate_cache(30)) for seed in range(6)]
    assert close([found[seed] for seed in range(6)], expected)


@pytest.mark.parametrize("tape", [Tape(RuntimeError("not permitted\nwhen stream is capturing")), Tape(empty=True)])
@torch.inference_mode()
def test_what_cannot_be_captured_is_said_once_and_read_by_the_modules(
    tape: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model()
    with caplog.at_level(logging.WARNING):
        prefill = prepared(model, tape)
        made, prompt = tape.replays, make_prompt(model, 9)
        assert torch.equal(prefill(prompt, model.allocate_cache(9)), model(prompt, model.allocate_cache(9)))
    assert (tape.captures, tape.replays) == (1, made)
    [record] = caplog.records
    assert record.getMessage().startswith("short prompts cannot be captured as CUDA graphs (")


@torch.inference_mode()
def test_a_model_that_was_moved_to_another_dtype_is_not_read_by_old_graphs() -> None:
    model, tape = make_model(), Tape()
    prefill, made = prepared(model, tape), tape.replays
    model.to(torch.bfloat16)
    prompt = make_prompt(model, 9)
    assert torch.equal(prefill(prompt, model.allocate_cache(9)), model(prompt, model.allocate_cache(9)))
    assert tape.replays == made
