"""Guessing ahead changes how many passes an answer takes, and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, zip_longest

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generation.fakes import ByteTokenizer, ChainDecoder, stream_events, watched
from vita_demo.generation.callbacks import GenerationCallback, GenerationControl
from vita_demo.generation.events import Event, Sampled
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import make_sampler
from vita_demo.generation.speculation import PromptLookup, speculate_tokens
from vita_demo.metrics import Drafts, RunRecorder

PROMPT = torch.zeros(1, 7, 4)
CPU = torch.device("cpu")
# What a token does to the next ones, from running in circles to never repeating itself.
MEMORIES = (1, 2, 3, 1000)


def plain(decoder: ChainDecoder, options: GenerationOptions) -> Iterator[Sampled]:
    return generate_tokens(decoder, PROMPT, make_sampler(options, frozenset({0}), CPU), options)


def speculated(
    decoder: ChainDecoder, options: GenerationOptions, input_ids: Sequence[int] = (), drafts: Drafts | None = None
) -> Iterator[Sampled]:
    sampler = make_sampler(options, frozenset({0}), CPU)
    return speculate_tokens(decoder, PROMPT, input_ids, sampler, options, drafts or Drafts())


def assert_the_same(memory: int, chain: int, input_ids: Sequence[int], **values: object) -> Drafts:
    """At every token: the same id and log-probability, and a decoder that keeps the same tokens."""
    options, drafts = GenerationOptions(**values), Drafts()
    ours, theirs = ChainDecoder(memory, seed=chain), ChainDecoder(memory, seed=chain)
    pairs = zip_longest(speculated(ours, options, input_ids, drafts), plain(theirs, options))
    for number, (token, expected) in enumerate(pairs):
        assert token._replace(together=False) == expected
        assert ours.committed == theirs.committed
        assert ours.passes + drafts.accepted == theirs.passes == number + 1
    return drafts


@settings(max_examples=150)
@given(
    st.sampled_from(MEMORIES),
    st.integers(0, 10**6),
    st.lists(st.integers(-1, 5), max_size=60),
    st.integers(1, 8),
    st.integers(1, 50),
)
def test_every_token_is_that_of_the_plain_loop(
    memory: int, chain: int, input_ids: list[int], speculate: int, count: int
) -> None:
    assert_the_same(memory, chain, input_ids, speculate=speculate, max_new_tokens=count)


@pytest.mark.parametrize("speculate", range(1, 9))
@pytest.mark.parametrize(
    "values",
    [
        {"top_logprobs": 2},
        {"repetition_penalty": 1.7},
        {"min_new_tokens": 30},
        {"bad_words_ids": ((3,), (1, 2))},
        {"do_sample": True, "seed": 5, "temperature": 0.3},
        {"do_sample": True, "seed": 6, "top_k": 2, "repetition_penalty": 0.6},
    ],
)
def test_log_probabilities_penalties_and_draws_are_those_of_the_plain_loop(speculate: int, values: dict) -> None:
    drafts = [assert_the_same(2, chain, (), speculate=speculate, max_new_tokens=40, **values) for chain in range(4)]
    assert any(each.accepted for each in drafts)


@pytest.mark.parametrize("speculate", range(1, 9))
def test_a_text_that_runs_in_circles_takes_few_passes(speculate: int) -> None:
    drafts, decoder = Drafts(), ChainDecoder(1)
    tokens = list(speculated(decoder, GenerationOptions(max_new_tokens=200, speculate=speculate), drafts=drafts))
    # At most six tokens before the circle closes, two to see that it did, then full passes.
    assert decoder.passes <= 9 + 200 / (speculate + 1)
    assert drafts.accepted == 200 - decoder.passes
    assert drafts.accepted > drafts.proposed - speculate
    assert max(len(group) for group in groups(tokens)) == speculate + 1


def groups(tokens: Sequence[Sampled]) -> list[list[int]]:
    """Ids that came together."""
    found: list[list[int]] = []
    for token in tokens:
        if not token.together:
            found.append([])
        found[-1].append(token.token_id)
    return found


def test_the_prompt_is_looked_up() -> None:
    options, drafts = GenerationOptions(max_new_tokens=24, speculate=8), Drafts()
    answer = [token.token_id for token in plain(ChainDecoder(1000, vocab_size=64), options)]
    assert len(set(pairwise(answer))) == 23, "nothing in it repeats itself"
    list(speculated(ChainDecoder(1000, vocab_size=64), options, [5, *answer], drafts))
    assert drafts.accepted > 18


def test_guesses_follow_the_longest_match_and_of_such_the_latest() -> None:
    lookup = PromptLookup([1, 2, 3, 40, 41, 9, 2, 3, 50, 9, 9, 3, 60, 1, 2, 3])
    assert lookup.draft(2) == [40, 41]
    assert PromptLookup([9, 2, 3, 40, 8, 2, 3, 50, 51, 7, 3, 60, 1, 2, 3]).draft(2) == [50, 51]
    assert PromptLookup([2, 3, 40, 41]).draft(4) == []
    # A single token foretells nothing.
    assert PromptLookup([3, 40, 3]).draft(1) == []
    assert PromptLookup([]).draft(4) == []


def test_guesses_go_round_in_a_circle() -> None:
    assert PromptLookup([1, 2, 7, 8, 9, 7, 8, 9]).draft(7) == [7, 8, 9, 7, 8, 9, 7]
    assert PromptLookup([4, 4, 4]).draft(3) == [4, 4, 4]
    assert PromptLookup([4, 4, 4]).draft(0) == []


def test_pictures_and_sound_are_never_guessed() -> None:
    assert PromptLookup([5, 6, 7, -200, -200, 8, 5, 6]).draft(4) == [7]
    assert PromptLookup([5, 6, -500, 5, 6]).draft(4) == []


def events_of(make: Callable[..., Iterator[Sampled]], **values: object) -> list[tuple]:
    """All that a reader sees but the times."""
    options = GenerationOptions(**values)
    tokens = make(ChainDecoder(2, vocab_size=128), options)
    return [
        (event.finish_reason, event.text) if event.finish_reason else (event.step, event.token_id, event.text)
        for event in stream_events(tokens, ByteTokenizer(), options)
    ]


@pytest.mark.parametrize("speculate", [1, 3, 8])
def test_every_end_is_that_of_the_plain_loop(speculate: int) -> None:
    whole = events_of(plain, max_new_tokens=40)
    ids = [event[1] for event in whole[:-1]]
    text = "".join(event[-1] for event in whole)
    ends = [{"max_new_tokens": count} for count in range(1, 41)]
    ends += [{"max_new_tokens": 40, "stop_token_ids": (token_id,)} for token_id in set(ids)]
    ends += [{"max_new_tokens": 40, "stop_strings": (text[place : place + 3],)} for place in range(len(text) - 2)]
    for end in ends:
        assert events_of(speculated, speculate=speculate, **end) == events_of(plain, **end)


@pytest.mark.parametrize("after", range(1, 20))
def test_whoever_leaves_finds_the_decoder_as_the_plain_loop_leaves_it(after: int) -> None:
    decoders = ChainDecoder(1), ChainDecoder(1)
    for decoder, make in zip(decoders, (speculated, plain), strict=True):
        tokens = make(decoder, GenerationOptions(max_new_tokens=40, speculate=5))
        for _ in range(after):
            next(tokens)
        tokens.close()
    assert decoders[0].committed == decoders[1].committed
    assert len(decoders[0].committed) == after - 1


class Slow(GenerationCallback):
    """Keeps the clock waiting, and may ask for the end."""

    def __init__(self, clock: "Clock", until: int | None = None) -> None:
        self.clock, self.until, self.steps = clock, until, list[int]()

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: object) -> object:
        self.clock.now += 1.0
        self.steps.append(step)
        return GenerationControl.CANCEL if step == self.until else None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def watch(tokens: Iterator[Sampled], clock: Clock, callback: Slow, **values: object) -> list[Event]:
    return list(watched(tokens, GenerationOptions(**values), [callback], recorder=RunRecorder(clock)))


def test_tokens_that_come_together_have_one_time_and_are_seen_one_by_one() -> None:
    tokens = [Sampled(65), Sampled(66), Sampled(67, together=True), Sampled(68, together=True), Sampled(69)]
    clock = Clock()
    callback = Slow(clock)
    *seen, end = watch(iter(tokens), clock, callback)
    assert callback.steps == [0, 1, 2, 3, 4]
    assert [event.time_s for event in seen] == [0.0, 1.0, 1.0, 1.0, 4.0]
    assert list(end.answer.stats.token_gaps_s) == [1.0, 0.0, 0.0, 3.0]


def test_a_time_limit_does_not_wait_for_the_next_pass() -> None:
    tokens = [Sampled(65), *[Sampled(66, together=True)] * 8]
    clock = Clock()
    *seen, end = watch(iter(tokens), clock, Slow(clock), time_limit_s=3.0)
    assert len(seen) == 4
    assert end.finish_reason == "timeout"


@pytest.mark.parametrize("until", range(1, 9))
def test_a_callback_ends_the_answer_at_any_token(until: int) -> None:
    decoder, drafts, clock = ChainDecoder(1, vocab_size=40), Drafts(), Clock()
    tokens = speculated(decoder, GenerationOptions(max_new_tokens=200, speculate=4), [*range(40)] * 2, drafts)
    *seen, end = watch(tokens, clock, Slow(clock, until), max_new_tokens=200)
    assert len(seen) == until + 1 == decoder.passes + drafts.accepted
    assert end.finish_reason == "cancelled"
    assert len(decoder.committed) == until


def test_the_reader_is_not_left_in_inference_mode() -> None:
    tokens = speculated(ChainDecoder(1), GenerationOptions(max_new_tokens=9, speculate=3))
    for _ in tokens:
        assert not torch.is_inference_mode_enabled()
