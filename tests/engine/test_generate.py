"""``model.generate``: each argument of transformers is followed, or refused by name."""

from threading import Thread
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LogitsProcessorList

from vita_demo import TextIteratorStreamer, generate_with_callbacks, prepare_inputs
from vita_demo.checkpoint.settings import Settings
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import ConfigError, InputError, VitaDemoError
from vita_demo.generation.callbacks import GenerationCallback


@pytest.fixture
def model(embedded_pipeline) -> VitaForGeneration:
    return embedded_pipeline.model


@pytest.fixture
def inputs(embedded_pipeline) -> dict[str, Any]:
    return prepare_inputs(embedded_pipeline.model, embedded_pipeline.tokenizer, "hi")


def only_seven(_batch: int, _ids: torch.Tensor) -> list[int]:
    return [7]


class ForbidAll:
    """Leaves only token 9."""

    def __call__(self, _ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, float("-inf"))
        forced[:, 9] = 0
        return forced


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (1, 24)),
        ({"max_time": 1e-6}, (1, 1)),
        ({"max_length": 110}, (1, 3)),
        ({"max_length": 110, "max_new_tokens": 5}, (1, 5)),
        ({"logits_processor": LogitsProcessorList()}, (1, 24)),
        ({"generation_config": GenerationConfig(max_new_tokens=3)}, (1, 3)),
        ({"generation_config": GenerationConfig(max_new_tokens=3), "max_new_tokens": 4}, (1, 4)),
        ({"num_return_sequences": 2, "num_beams": 2, "max_new_tokens": 5}, (2, 5)),
        ({"num_return_sequences": 2, "do_sample": True, "max_new_tokens": 5}, (2, 5)),
        ({"num_beams": 2, "max_new_tokens": 5}, (1, 5)),
        ({"num_beams": 2, "max_time": 1e-6}, (1, 1)),
        ({"do_sample": True, "temperature": 1e-39}, (1, 24)),
    ],
)
def test_arguments_are_followed(model: VitaForGeneration, inputs: dict, arguments: dict, shape: tuple) -> None:
    assert inputs["input_ids"].shape == (1, 107)
    assert model.generate(**inputs, **arguments).shape == shape


def test_processors_and_prefixes_choose_the_tokens(model: VitaForGeneration, inputs: dict) -> None:
    processors = LogitsProcessorList([ForbidAll()])
    assert model.generate(**inputs, logits_processor=processors, max_new_tokens=3).tolist() == [[9, 9, 9]]
    assert model.generate(**inputs, prefix_allowed_tokens_fn=only_seven, max_new_tokens=2).tolist() == [[7, 7]]


@pytest.mark.parametrize("more", [{}, {"output_scores": True, "return_dict_in_generate": True}, {"num_beams": 2}])
def test_stop_strings_end_the_answer_in_every_engine(embedded_pipeline, inputs: dict, more: dict) -> None:
    model, tokenizer = embedded_pipeline.model, embedded_pipeline.tokenizer
    output = model.generate(**inputs, stop_strings=["Vita"], max_new_tokens=9, **more)
    ids = output if isinstance(output, torch.Tensor) else output.sequences
    assert tokenizer.decode(ids[0]) == "☜Hello! I am Vita"
    assert torch.equal(model.generate(**inputs, stop_strings="Vita", tokenizer=tokenizer), ids)


def test_stop_strings_without_a_tokenizer_are_refused(model: VitaForGeneration, monkeypatch) -> None:
    monkeypatch.setattr(model, "tokenizer", None)
    with pytest.raises(ConfigError, match="give tokenizer="):
        model.generate([1, 2], stop_strings=["x"])
    assert model.generate([1, 2], max_new_tokens=2).shape == (1, 2)


@pytest.mark.parametrize("scores", [{}, {"output_scores": True, "return_dict_in_generate": True}])
def test_a_streamer_and_criteria_are_served_with_scores_too(embedded_pipeline, inputs: dict, scores: dict) -> None:
    streamer = TextIteratorStreamer(embedded_pipeline.tokenizer, timeout=60)
    criteria = [lambda ids, _scores, **_: ids.shape[1] == 3]
    arguments = {**inputs, **scores, "streamer": streamer, "stopping_criteria": criteria}
    thread = Thread(target=embedded_pipeline.model.generate, kwargs=arguments)
    thread.start()
    assert "".join(streamer) == "☜Hello!"
    thread.join()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_length": 20}, "max_length 20 must be above the prompt's 107"),
        ({"num_return_sequences": 2}, "transformers refuses"),
        ({"no_such_option": 1}, "no_such_option is no option"),
        ({"do_sample": True, "temperature": float("inf")}, "temperature inf must be a finite"),
        ({"num_beams": 2, "streamer": TextIteratorStreamer(None)}, "cannot stream"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    model: VitaForGeneration, inputs: dict, arguments: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        model.generate(**inputs, **arguments)


@pytest.mark.parametrize("ids", ["hi", [], ["a"], torch.zeros(2, 3, dtype=torch.long), None])
def test_what_is_no_prompt_is_refused(model: VitaForGeneration, ids: Any) -> None:
    with pytest.raises(InputError, match="input_ids"):
        model.generate(ids)


def test_a_tiny_temperature_takes_the_likeliest(model: VitaForGeneration, inputs: dict) -> None:
    for engine in ("native", "transformers"):
        drawn = model.generate(**inputs, do_sample=True, temperature=1e-39, engine=engine)
        assert torch.equal(drawn, model.generate(**inputs))


def test_processors_of_the_checkpoint_hold(embedded_pipeline, inputs: dict) -> None:
    model = embedded_pipeline.model
    first = model.generate(**inputs, max_new_tokens=1)[0].tolist()
    config = model.config
    try:
        object.__setattr__(config, "generation_defaults", {**config.generation_defaults, "suppress_tokens": first})
        assert model.generate(**inputs, max_new_tokens=1)[0].tolist() != first
    finally:
        object.__setattr__(config, "generation_defaults", Settings.read("embedded").config.generation_defaults)


def test_hooks_get_tensors(embedded_pipeline, inputs: dict) -> None:
    seen = []

    class Shapes(GenerationCallback):
        def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
            seen.append(tuple(input_ids.shape))

        def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
            seen.append(tuple(output_ids.shape))

    model, tokenizer = embedded_pipeline.model, embedded_pipeline.tokenizer
    generate_with_callbacks(model, tokenizer, **inputs, callbacks=[Shapes()], max_new_tokens=3)
    assert seen == [(1, 107), (3,)]


def test_a_loop_may_go_back_but_not_on_with_a_stale_cache(model: VitaForGeneration, inputs: dict) -> None:
    ids = inputs["input_ids"]
    first = model(ids)
    assert first.logits.shape == (1, 1, model.config.text.vocab_size)
    one = model([[5]], past_key_values=first.past_key_values)
    other = model([[6]], past_key_values=first.past_key_values)
    whole = model(torch.cat([ids, torch.tensor([[6]])], 1), use_cache=False)
    assert whole.past_key_values is None
    torch.testing.assert_close(other.logits, whole.logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(VitaDemoError, match="continued with other ids"):
        model([[7]], past_key_values=one.past_key_values)
    logits, past = model([[7]], past_key_values=other.past_key_values, return_dict=False)
    assert (logits.shape[-1], past.positions) == (model.config.text.vocab_size, 109)
    with pytest.raises(ConfigError, match="give what model"):
        model([[7]], past_key_values="cache")
