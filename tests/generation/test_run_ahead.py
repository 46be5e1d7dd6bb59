"""Running ahead of the reader gives the tokens of the plain loop, wherever and however the reader stops."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.generation.fakes import LateSlot, watched
from vita_demo.generation.callbacks import GenerationCallback, GenerationControl
from vita_demo.generation.events import Sampled
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.run_ahead import Readback, generate_ahead
from vita_demo.generation.sampling import make_sampler

COUNT, VOCAB = 48, 256
DEPTHS = [1, 2, 4]
GREEDY = make_sampler(GenerationOptions(), frozenset(), torch.device("cpu"))


class MemoryDecoder:
    """Its next token depends on everything in its memory, so that one wrong position shows in all that follows."""

    def __init__(self, runs_ahead: bool = True, fail_at: int | None = None) -> None:
        self.runs_ahead = runs_ahead
        self.memory: list[int] = [-1] * 400
        self.length = 0
        self.launched: list[int] = []
        self.fail_at = fail_at

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        for value in inputs_embeds[0, :, 0].tolist():
            self.memory[self.length] = int(value)
            self.length += 1
        return self.logits(self.length)

    def step(self, token_id: Tensor) -> Tensor:
        logits = self.launch(token_id, 0)
        self.commit()
        return logits

    def launch(self, token_id: Tensor, ahead: int) -> Tensor:
        if len(self.launched) == self.fail_at:
            raise RuntimeError(f"the model broke at step {self.fail_at}")
        self.launched.append(self.length + ahead)
        self.memory[self.length + ahead] = int(token_id)
        return self.logits(self.length + ahead + 1)

    def commit(self) -> None:
        self.length += 1

    def logits(self, filled: int) -> Tensor:
        number = sum((index + 1) * (value + 3) for index, value in enumerate(self.memory[:filled]))
        logits = torch.zeros(1, VOCAB)
        logits[0, 2 + number % (VOCAB - 2)] = 1.0
        return logits


def prompt(start: int, length: int = 5) -> Tensor:
    return torch.arange(start, start + length, dtype=torch.float32).view(1, -1, 1)


def ahead(decoder: MemoryDecoder, depth: int, start: int = 10, count: int = COUNT) -> Iterator[Sampled]:
    return generate_ahead(decoder, prompt(start), GREEDY, count, Readback(depth, LateSlot))


def expected_turns(first: int) -> tuple[list[int], list[int], int]:
    """Tokens of a turn that is left after ``first`` of them, of the turn after it, and the positions in between."""
    decoder = MemoryDecoder(runs_ahead=False)
    options = GenerationOptions(max_new_tokens=COUNT)
    tokens = generate_tokens(decoder, prompt(10), GREEDY, options)
    one = [next(tokens).token_id for _ in range(first)]
    tokens.close()
    length = decoder.length
    two = [token.token_id for token in generate_tokens(decoder, prompt(70), GREEDY, options)]
    return one, two, length


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("count", [1, 2, 3, 5, COUNT])
def test_all_tokens_are_those_of_the_plain_loop(depth: int, count: int) -> None:
    decoder = MemoryDecoder()
    ids = [token.token_id for token in ahead(decoder, depth, count=count)]
    assert ids == expected_turns(count)[0]
    assert decoder.length == 5 + count - 1
    assert decoder.launched == list(range(5, 5 + count - 1)), "no step beyond the last token"


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("stop", range(1, 41))
def test_a_stop_anywhere_leaves_the_position_where_the_plain_loop_does(depth: int, stop: int) -> None:
    decoder = MemoryDecoder()
    tokens = ahead(decoder, depth)
    first = [next(tokens).token_id for _ in range(stop)]
    tokens.close()
    expected_first, expected_second, length = expected_turns(stop)
    assert (first, decoder.length) == (expected_first, length)
    assert [token.token_id for token in ahead(decoder, depth, start=70)] == expected_second


def test_a_reader_that_leaves_without_closing_disturbs_no_later_turn() -> None:
    decoder = MemoryDecoder()
    left = ahead(decoder, 2)
    first = [next(left).token_id for _ in range(7)]
    later = ahead(decoder, 2, start=70)
    second = [next(later).token_id for _ in range(9)]
    left.close()
    second += [token.token_id for token in later]
    assert (first, second) == expected_turns(7)[:2]


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_first_token_waits_for_nothing_else_and_so_many_steps_run_ahead(depth: int) -> None:
    decoder = MemoryDecoder()
    tokens = ahead(decoder, depth)
    assert decoder.length == 0
    next(tokens)
    assert decoder.launched == []
    for step in range(1, 9):
        next(tokens)
        assert len(decoder.launched) == step + depth


def test_the_reader_is_not_left_in_inference_mode() -> None:
    tokens = ahead(MemoryDecoder(), 2)
    for _ in range(3):
        next(tokens)
        assert not torch.is_inference_mode_enabled()


def test_an_error_in_the_model_reaches_the_reader_and_counts_no_lost_token() -> None:
    decoder = MemoryDecoder(fail_at=6)
    tokens, got = ahead(decoder, 2), []
    with pytest.raises(RuntimeError, match="broke at step 6"):
        got += (token.token_id for token in tokens)
    assert decoder.length == 5 + len(got) - 1


def test_log_probabilities_are_looked_up_without_running_ahead() -> None:
    decoder = MemoryDecoder()
    tokens = generate_tokens(decoder, prompt(10), GREEDY, GenerationOptions(max_new_tokens=4, top_logprobs=2))
    for step in range(4):
        assert len(next(tokens).alternatives) == 2
        assert len(decoder.launched) == step


class Sleeping(GenerationCallback):
    """Sleeps for a random while."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        time.sleep(random.Random(step).random() / 2000)
        self.seen.append(token_id)


class Raising(GenerationCallback):
    """Breaks at its third token."""

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        if step == 2:
            raise ValueError("broken")


class Ending(GenerationCallback):
    """Asks for an end."""

    def __init__(self, step: int, control: GenerationControl) -> None:
        self.at, self.control = step, control

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> GenerationControl | None:
        return self.control if step == self.at else None


def watch(tokens: Iterator[Sampled], *callbacks: GenerationCallback, strict: bool = False) -> tuple[list[int], str]:
    *seen, end = watched(tokens, GenerationOptions(max_new_tokens=COUNT), callbacks, strict=strict)
    return [event.token_id for event in seen], end.finish_reason


@pytest.mark.parametrize("depth", DEPTHS)
def test_callbacks_that_sleep_and_raise_change_no_token(depth: int) -> None:
    sleeping = Sleeping()
    ids, reason = watch(ahead(MemoryDecoder(), depth), sleeping, Raising())
    assert (ids, reason) == (expected_turns(COUNT)[0], "length")
    assert sleeping.seen == ids


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("control", "reason"), [(GenerationControl.STOP, "stop"), (GenerationControl.CANCEL, "cancelled")]
)
def test_a_callback_ends_the_answer_after_its_token(depth: int, control: GenerationControl, reason: str) -> None:
    decoder = MemoryDecoder()
    assert watch(ahead(decoder, depth), Ending(11, control)) == (expected_turns(12)[0], reason)
    assert decoder.length == expected_turns(12)[2]


def test_an_error_of_a_strict_callback_counts_what_was_handed_on() -> None:
    decoder = MemoryDecoder()
    with pytest.raises(ValueError, match="broken"):
        watch(ahead(decoder, 2), Raising(), strict=True)
    assert decoder.length == expected_turns(3)[2]
