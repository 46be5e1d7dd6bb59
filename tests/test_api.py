"""The callbacks guide's usage, written out: plain generation and the four ways to watch it."""

from typing import Any

import pytest
import torch

from tests.conftest import ASSETS
from vita_demo import (
    GenerationCallback,
    LoggingCallback,
    PerformanceCallback,
    ProgressCallback,
    TextIteratorStreamer,
    TextStreamer,
    VITAModelWithCallbacks,
    generate_with_callbacks,
    generate_with_iterator_streamer,
    generate_with_streaming,
    prepare_inputs,
)
from vita_demo.errors import GenerationError, InputError, VitaDemoError


class Recorder(GenerationCallback):
    """The guide's three hooks."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.text = ""
        self.ids: list[int] = []

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        self.calls.append("start")
        assert -200 in input_ids
        assert kwargs["prompt_positions"] > input_ids.shape[1]
        assert kwargs["max_new_tokens"] == 6

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        assert step == len(self.ids)
        self.calls.append("token")
        self.ids.append(token_id)
        self.text += token_text

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        self.calls.append(f"end {kwargs['finish_reason']}")
        assert list(output_ids) == self.ids


@pytest.fixture(scope="module")
def guide(embedded_pipeline):
    """Model, tokenizer and inputs as the guide's script has them."""
    model, tokenizer = embedded_pipeline.model, embedded_pipeline.tokenizer
    paths = {"image_path": ASSETS / "scene.png", "audio_path": ASSETS / "question.wav"}
    return model, tokenizer, prepare_inputs(model, tokenizer, "Describe this image.", **paths)


def plain(guide) -> torch.Tensor:
    model, tokenizer, inputs = guide
    return model.generate(
        inputs["input_ids"],
        images=inputs["images"],
        audios=inputs["audios"],
        do_sample=False,
        temperature=0.01,
        top_p=None,
        num_beams=1,
        output_scores=False,
        return_dict_in_generate=False,
        max_new_tokens=6,
        use_cache=True,
        stopping_criteria=[],
        shared_v_pid_stride=None,
        pad_token_id=tokenizer.pad_token_id,
    )


def test_the_inputs_are_the_originals(guide) -> None:
    _, _, inputs = guide
    ids = inputs["input_ids"]
    assert ids.shape[0] == 1
    assert (ids == -200).sum() == len(inputs["images"]) == 13
    assert (ids == -500).sum() == 1
    assert inputs["images"].shape[1:] == (3, 128, 128)
    assert set(inputs["audios"]) == {"audios", "lengths", "lengths_for_llm"}


def test_plain_generation_takes_the_originals_arguments(guide) -> None:
    ids = plain(guide)
    assert ids.shape == (1, 6)
    model, _, inputs = guide
    output = model.generate(**inputs, max_new_tokens=6, return_dict_in_generate=True)
    assert torch.equal(output.sequences, ids)
    scored = model.generate(**inputs, max_new_tokens=6, return_dict_in_generate=True, output_scores=True)
    assert torch.equal(scored.sequences, ids)
    assert len(scored.scores) == 6


def test_media_without_a_placeholder_are_ignored_as_in_the_original(guide) -> None:
    model, tokenizer, _ = guide
    inputs = prepare_inputs(model, tokenizer, "hi")
    zeros = {"images": torch.zeros(1, 3, 128, 128), "audios": {"audios": torch.zeros(1, 400, 80)}}
    ids = model.generate(inputs["input_ids"], max_new_tokens=4)
    assert torch.equal(model.generate(inputs["input_ids"], **zeros, max_new_tokens=4), ids)


def test_generate_with_streaming(guide, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer, inputs = guide
    ids = generate_with_streaming(model, tokenizer, **inputs, max_new_tokens=6)
    assert torch.equal(ids, plain(guide))
    assert "☞" + capsys.readouterr().out == tokenizer.decode(ids[0]) + "\n"


def test_generate_with_callbacks(guide) -> None:
    model, tokenizer, inputs = guide
    recorder, performance = Recorder(), PerformanceCallback()
    callbacks = [recorder, LoggingCallback(tokenizer), ProgressCallback(max_tokens=6), performance]
    ids = generate_with_callbacks(model, tokenizer, **inputs, callbacks=callbacks, max_new_tokens=6)
    assert recorder.calls == ["start", *["token"] * 6, "end length"]
    assert torch.equal(ids, plain(guide))
    assert "☞" + recorder.text == tokenizer.decode(ids[0])
    assert performance.stats.tokens == 6
    assert performance.stats.decode_tps > 0


def test_generate_with_iterator_streamer(guide) -> None:
    model, tokenizer, inputs = guide
    texts = list(generate_with_iterator_streamer(model, tokenizer, **inputs, max_new_tokens=6))
    assert len(texts) > 4
    assert "☞" + "".join(texts) == tokenizer.decode(plain(guide)[0])


def test_the_wrapper_with_hooks(guide) -> None:
    model, tokenizer, inputs = guide
    wrapped, recorder = VITAModelWithCallbacks(model, tokenizer), Recorder()
    wrapped.add_callback(recorder)
    wrapped.add_callback(PerformanceCallback)
    ids = wrapped.generate(inputs["input_ids"], images=inputs["images"], audios=inputs["audios"], max_new_tokens=6)
    assert torch.equal(ids, plain(guide))
    assert recorder.calls.count("start") == 1
    wrapped.remove_callback(PerformanceCallback)
    assert wrapped.callbacks == [recorder]


def test_transformers_style_streamers_on_generate(guide, capsys: pytest.CaptureFixture[str]) -> None:
    from threading import Thread

    model, tokenizer, inputs = guide
    ids = model.generate(**inputs, streamer=TextStreamer(tokenizer, skip_prompt=True), max_new_tokens=6)
    text = tokenizer.decode(ids[0])
    assert capsys.readouterr().out == text + "\n"
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=30)
    thread = Thread(target=model.generate, kwargs={**inputs, "streamer": streamer, "max_new_tokens": 6})
    thread.start()
    assert "".join(streamer) == text
    thread.join()


def test_stopping_criteria_see_the_answer(guide) -> None:
    model, _, inputs = guide
    seen: list[int] = []

    def after_five(input_ids: torch.Tensor, _scores: object) -> bool:
        seen.append(input_ids.shape[1])
        return input_ids.shape[1] == 5

    ids = model.generate(**inputs, stopping_criteria=[after_five], max_new_tokens=6)
    assert ids.shape == (1, 5)
    assert seen == [1, 2, 3, 4, 5]


@pytest.fixture
def wrapped(embedded_pipeline) -> VITAModelWithCallbacks:
    return VITAModelWithCallbacks(embedded_pipeline.model, embedded_pipeline.tokenizer)


def test_callbacks_are_added_and_removed_by_instance_or_class(wrapped: VITAModelWithCallbacks) -> None:
    own = GenerationCallback()
    wrapped.add_callback(own)
    wrapped.add_callback(PerformanceCallback)
    wrapped.add_callback(PerformanceCallback())
    assert len(wrapped.callbacks) == 3
    wrapped.remove_callback(PerformanceCallback)
    assert wrapped.callbacks == [own]
    wrapped.remove_callback(own)
    with pytest.raises(InputError, match="GenerationCallback is not there"):
        wrapped.remove_callback(own)


@pytest.mark.parametrize("what", ["add_callback", "remove_callback", "generate"])
def test_changes_during_a_generation_are_refused(wrapped: VITAModelWithCallbacks, what: str) -> None:
    class Meddler(GenerationCallback):
        error: VitaDemoError | None = None

        def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
            try:
                getattr(wrapped, what)(self)
            except VitaDemoError as error:
                self.error = error

    meddler = Meddler()
    wrapped.add_callback(meddler)
    wrapped.generate([1, 2, 3], max_new_tokens=2)
    assert isinstance(meddler.error, GenerationError)
    assert "while a generation runs" in str(meddler.error)
    wrapped.remove_callback(meddler)


def test_an_error_frees_the_wrapper(wrapped: VITAModelWithCallbacks) -> None:
    with pytest.raises(InputError):
        wrapped.generate([1, -200], max_new_tokens=2)
    assert wrapped.generate([1, 2], max_new_tokens=2).shape == (1, 2)
