"""Sampling against transformers' own, and its properties."""

import pytest
import torch
from transformers.generation.logits_process import NoBadWordsLogitsProcessor

from vita_demo.errors import ConfigError
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import BadWords, make_sampler

CPU = torch.device("cpu")
EMPTY = torch.empty(1, 0, dtype=torch.long)


def logits(seed: int = 0, size: int = 50) -> torch.Tensor:
    return 3 * torch.randn(1, size, generator=torch.Generator().manual_seed(seed))


def draws(options: GenerationOptions, count: int = 300) -> set[int]:
    sampler = make_sampler(options, frozenset({0}), CPU)
    return {int(sampler(logits(), EMPTY)) for _ in range(count)}


def test_greedy_is_the_likeliest() -> None:
    sampler = make_sampler(GenerationOptions(), frozenset(), CPU)
    assert int(sampler(logits(), EMPTY)) == int(logits().argmax())


def test_a_seed_repeats_the_draws_and_another_changes_them() -> None:
    def sequence(seed: int) -> list[int]:
        sampler = make_sampler(GenerationOptions(do_sample=True, seed=seed), frozenset(), CPU)
        return [int(sampler(logits(), EMPTY)) for _ in range(20)]

    assert sequence(1) == sequence(1)
    assert sequence(1) != sequence(2)


def test_draws_are_those_of_multinomial() -> None:
    """The tokens of a seed are what they were before the draw had to do without a synchronization."""
    sampler = make_sampler(GenerationOptions(do_sample=True, seed=7, top_k=0), frozenset(), CPU)
    generator = torch.Generator().manual_seed(7)
    for seed in range(50):
        probabilities = logits(seed, 1017).softmax(-1)
        assert torch.equal(
            sampler(logits(seed, 1017), EMPTY), torch.multinomial(probabilities, 1, generator=generator)[0]
        )


@pytest.mark.parametrize("options", [{"top_k": 3}, {"top_k": 0, "top_p": 0.5}, {"top_k": 0, "min_p": 0.3}])
def test_the_tail_is_cut(options: dict) -> None:
    every = draws(GenerationOptions(do_sample=True, seed=0, top_k=0, temperature=5.0))
    cut = draws(GenerationOptions(do_sample=True, seed=0, **options))
    probabilities = logits().softmax(-1)[0]
    order = probabilities.argsort(descending=True).tolist()
    assert len(cut) < len(every)
    assert cut <= set(order[: len(cut) + 2])
    if options.get("top_k"):
        assert cut == set(order[:3])
    if "min_p" in options:
        assert all(probabilities[token] >= 0.3 * probabilities.max() for token in cut)


def test_a_repetition_penalty_counts_only_the_answer() -> None:
    sampler = make_sampler(GenerationOptions(repetition_penalty=100.0), frozenset(), CPU)
    best = int(logits().argmax())
    assert int(sampler(logits(), EMPTY)) == best
    assert int(sampler(logits(), torch.tensor([[best]]))) != best


def test_penalties_leave_the_models_logits_alone() -> None:
    own = logits()
    make_sampler(GenerationOptions(repetition_penalty=2.0), frozenset(), CPU)(own, torch.tensor([[1]]))
    assert torch.equal(own, logits())


def test_bad_words_and_early_stops_are_held_off() -> None:
    best = int(logits().argmax())
    assert int(make_sampler(GenerationOptions(bad_words_ids=((best,),)), frozenset(), CPU)(logits(), EMPTY)) != best
    sampler = make_sampler(GenerationOptions(min_new_tokens=2), frozenset({best}), CPU)
    assert int(sampler(logits(), EMPTY)) != best
    assert int(sampler(logits(), torch.tensor([[1, 2]]))) == best


def test_bad_words_are_those_of_transformers() -> None:
    """Over random answers of few tokens, so that beginnings of words are common; a stop token alone may come."""
    words, generator = ((3,), (0,), (1, 2), (2, 2, 1), (1, 0), (0, 1, 2, 3)), torch.Generator().manual_seed(0)
    ours, theirs = BadWords(words, frozenset({0}), CPU), NoBadWordsLogitsProcessor([list(w) for w in words], [0])
    forbidden = set()
    for length in [*range(8)] * 12:
        answer = torch.randint(4, (1, length), generator=generator)
        found, expected = ours(answer, logits(length)), theirs(answer, logits(length))
        assert torch.equal(found, expected)
        forbidden |= set(found.isinf().nonzero()[:, 1].tolist())
    assert forbidden == {0, 1, 2, 3}


@pytest.mark.parametrize("words", [((),), ((3,), (1, -2))])
def test_bad_words_without_ids_or_with_negative_ones_are_refused(words: tuple) -> None:
    with pytest.raises(ConfigError, match=r"bad_words_ids hold \[.*at least one token id, none negative"):
        make_sampler(GenerationOptions(bad_words_ids=words), frozenset(), CPU)


def test_bad_words_that_are_no_tokens_are_refused() -> None:
    sampler = make_sampler(GenerationOptions(bad_words_ids=((7, 50),)), frozenset(), CPU)
    with pytest.raises(ConfigError, match="bad_words_ids hold 50, and the vocabulary ends at 49"):
        sampler(logits(), EMPTY)
