"""Options are checked once, and defaults combine as transformers combines them."""

import pytest

from vita_demo.errors import ConfigError
from vita_demo.generation.options import GenerationOptions

QWEN_DEFAULTS = {
    "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05,
    "eos_token_id": [151645, 151643], "bos_token_id": 151643, "transformers_version": "4.41.1",
}  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        {"max_new_tokens": 0}, {"min_new_tokens": -1}, {"min_new_tokens": 9, "max_new_tokens": 8}, {"top_k": -1},
        {"top_p": 0.0}, {"top_p": 1.5}, {"min_p": -0.1}, {"repetition_penalty": 0.0}, {"seed": -1},
        {"do_sample": True, "temperature": 0.0}, {"time_limit_s": 0.0}, {"stop_strings": ("",)},
        {"temperature": -1.0}, {"temperature": float("inf")}, {"time_limit_s": float("nan")},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(values: dict) -> None:
    with pytest.raises(
        ConfigError, match=next(iter(set(values) - {"do_sample", "max_new_tokens"}), "max_new_tokens").rstrip("s")
    ):
        GenerationOptions(**values)


def test_the_checkpoint_supplies_what_is_not_given() -> None:
    options = GenerationOptions.resolve(QWEN_DEFAULTS, top_p=0.5, seed=None)
    assert (options.top_k, options.top_p, options.repetition_penalty) == (20, 0.5, 1.05)
    assert options.stop_token_ids == (151645, 151643)


def test_answers_are_greedy_unless_asked_otherwise() -> None:
    assert not GenerationOptions.resolve(QWEN_DEFAULTS).do_sample
    assert not GenerationOptions.resolve(QWEN_DEFAULTS, temperature=0.0).do_sample
    assert GenerationOptions.resolve(QWEN_DEFAULTS, do_sample=True).temperature == 0.7
    assert GenerationOptions.resolve({}, temperature=0.2).do_sample


def test_the_max_length_of_a_checkpoint_does_not_shorten_answers() -> None:
    assert GenerationOptions.resolve({"max_new_tokens": 3}).max_new_tokens == 1024


@pytest.mark.parametrize("filters", [{"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}, {"temperature": 0.5}])
def test_a_filter_alone_draws(filters: dict) -> None:
    assert GenerationOptions.resolve({}, **filters).do_sample
    assert not GenerationOptions.resolve({}, **filters, do_sample=False).do_sample
    assert not GenerationOptions.resolve({}, **{**filters, "temperature": 0.0}).do_sample
    assert not GenerationOptions.from_generate({}, filters).do_sample, "as in transformers"


def test_options_that_only_transformers_has_apply_where_they_do_something() -> None:
    defaults = {"no_repeat_ngram_size": 3, "suppress_tokens": [5], "typical_p": 0.5, "length_penalty": 2.0, "x": 1}
    assert dict(GenerationOptions.resolve(defaults).extra) == {"no_repeat_ngram_size": 3, "suppress_tokens": [5]}
    assert GenerationOptions.resolve(defaults).needs_transformers == "no_repeat_ngram_size"
    assert GenerationOptions.resolve(defaults, do_sample=True).extra["typical_p"] == 0.5
    assert GenerationOptions.resolve(defaults, num_beams=2).extra["length_penalty"] == 2.0
    assert not GenerationOptions.resolve(defaults, engine="native").extra
    neutral = {"no_repeat_ngram_size": 0, "suppress_tokens": [], "typical_p": 1.0, "remove_invalid_values": False}
    assert not GenerationOptions.resolve(neutral, do_sample=True).needs_transformers
