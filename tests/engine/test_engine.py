"""Native = transformers = streamed = iterated = awaited: the same ids and the same text."""

import asyncio
from pathlib import Path

import pytest
import torch

from tests.conftest import ASSETS
from tests.golden import CASES, golden_request, load_golden
from vita_demo.errors import ConfigError
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request

# A trained model is sure of itself; the reference checkpoint's random weights leave a choice.
WORDS = Request(question="Describe this image.")
SCENE = Request(question="Describe this image.", image_paths=(ASSETS / "scene.png",))


@pytest.mark.parametrize("name", CASES)
def test_transformers_gives_the_golden_tokens(name: str, tiny7_pipeline, reference_media: Path) -> None:
    # The native engine's are in tests/test_pipeline.py.
    options = GenerationOptions(max_new_tokens=32, engine="transformers")
    answer = tiny7_pipeline.generate(golden_request(name, reference_media), options)
    assert list(answer.token_ids) == load_golden(name)["tokens"].tolist()
    assert answer.text == tiny7_pipeline.tokenizer.decode(answer.token_ids)


@pytest.mark.parametrize("name", ["text", "image_audio"])
def test_every_way_to_ask_gives_the_golden_text(name: str, tiny7_pipeline, reference_media: Path) -> None:
    request, options = golden_request(name, reference_media), GenerationOptions(max_new_tokens=32)
    expected = tiny7_pipeline.tokenizer.decode(load_golden(name)["tokens"].tolist())
    assert tiny7_pipeline.generate(request, options).text == expected
    streamed = [event.text for event in tiny7_pipeline.stream(request, options)][:-1]
    assert "".join(streamed) == expected
    assert "".join(tiny7_pipeline.iterate(request, options)) == expected

    async def awaited() -> str:
        return "".join([text async for text in tiny7_pipeline.astream(request, options)])

    assert asyncio.run(awaited()) == expected


@pytest.fixture(scope="module")
def plain_ids(tiny7_pipeline) -> tuple[int, ...]:
    """The greedy answer to WORDS."""
    return tiny7_pipeline.generate(WORDS, GenerationOptions(max_new_tokens=32)).token_ids


@pytest.mark.parametrize(
    "values",
    [
        {"repetition_penalty": 0.5},
        {"min_new_tokens": 20},
        {"do_sample": True, "temperature": 0.8},
        {"do_sample": True, "top_k": 5},
        {"do_sample": True, "top_k": 0, "top_p": 0.7},
        {"do_sample": True, "top_k": 0, "min_p": 0.2},
        {"do_sample": True, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "temperature": 1.4, "repetition_penalty": 1.2},
    ],
)
def test_options_mean_the_same_in_both_engines(values: dict, tiny7_pipeline, plain_ids: tuple[int, ...]) -> None:
    options = {"max_new_tokens": 32, "seed": 11, **values}
    native, theirs = (
        tiny7_pipeline.generate(WORDS, GenerationOptions(**options, engine=engine))
        for engine in ("native", "transformers")
    )
    assert native.token_ids == theirs.token_ids
    assert native.token_ids != plain_ids or "min_new_tokens" in values


def test_bad_words_mean_the_same_in_both_engines(tiny7_pipeline, plain_ids: tuple[int, ...]) -> None:
    bad = ((plain_ids[3],), plain_ids[7:9])
    native, theirs = (
        tiny7_pipeline.generate(WORDS, GenerationOptions(max_new_tokens=32, bad_words_ids=bad, engine=engine))
        for engine in ("native", "transformers")
    )
    assert native.token_ids == theirs.token_ids
    assert native.token_ids[:3] == plain_ids[:3]
    assert plain_ids[3] not in native.token_ids


@pytest.mark.parametrize("question", ["Question number 0?", "Question number 34?"])
def test_long_greedy_answers_are_the_same(question: str, embedded_pipeline) -> None:
    native, theirs = (
        embedded_pipeline.generate(
            Request(question=question), GenerationOptions(max_new_tokens=256, min_new_tokens=256, engine=engine)
        )
        for engine in ("native", "transformers")
    )
    assert native.token_ids == theirs.token_ids


def test_the_transformers_engine_holds_no_second_copy(embedded_pipeline) -> None:
    model = embedded_pipeline.model
    theirs = model.as_transformers()
    ours = {tensor.untyped_storage().data_ptr() for tensor in model.language_model.parameters()}
    assert {tensor.untyped_storage().data_ptr() for tensor in theirs.parameters()} <= ours
    assert model.as_transformers() is theirs
    assert not any(name.startswith("_transformers") for name, _ in model.named_modules())


def test_beams_go_to_transformers_by_themselves_and_make_no_rates(
    embedded_pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    answer = embedded_pipeline.generate(SCENE, GenerationOptions(max_new_tokens=8, num_beams=3))
    assert len(answer.token_ids) == 8
    assert answer.stats.decode_tps is None
    assert sum("transformers' engine generates" in record.getMessage() for record in caplog.records) == 1
    embeds = embedded_pipeline.model.embed([1, 2, 3])
    theirs = embedded_pipeline.model.as_transformers()
    ends = {"eos_token_id": sorted(embedded_pipeline.tokenizer.stop_ids), "pad_token_id": 0}
    expected = theirs.generate(inputs_embeds=embeds, num_beams=3, max_new_tokens=8, do_sample=False, **ends)
    assert torch.equal(embedded_pipeline.model.generate([1, 2, 3], num_beams=3, max_new_tokens=8), expected)


def test_further_options_of_transformers_are_taken(embedded_pipeline) -> None:
    ids = embedded_pipeline.model.generate([1, 2, 3], no_repeat_ngram_size=1, min_new_tokens=24, max_new_tokens=24)[
        0
    ].tolist()
    assert len(set(ids)) == len(ids) == 24


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_beams": 2, "streamer": object()}, "num_beams 2 cannot stream"),
        ({"num_beams": 2, "engine": "native"}, "num_beams is not in the native engine"),
        ({"max_new_tokenz": 3}, "max_new_tokenz is no option"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens does not work"),
        ({"prefill_chunk_size": 3}, "prefill_chunk_size does not work"),
        ({"engine": "steam"}, "engine 'steam' must be one of"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(arguments: dict, words: str, embedded_pipeline) -> None:
    with pytest.raises(ConfigError, match=words):
        embedded_pipeline.model.generate([1, 2, 3], **arguments)


def test_an_error_in_the_transformers_thread_arrives(embedded_pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("generate broke")

    monkeypatch.setattr(type(embedded_pipeline.model.as_transformers()), "generate", fail)
    with pytest.raises(RuntimeError, match="generate broke"):
        embedded_pipeline.generate(SCENE, GenerationOptions(engine="transformers"))


def test_leaving_a_transformers_stream_stops_it(embedded_pipeline) -> None:
    import threading

    events = embedded_pipeline.stream(SCENE, GenerationOptions(max_new_tokens=20_000, engine="transformers"))
    next(events)
    events.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "vita-demo-generation"]
