"""Who gets which decoder: a fresh one, the last one again, or a larger one."""

import weakref

import pytest
import torch

from tests.model.fakes import Tape
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import GenerationError
from vita_demo.generation.options import GenerationOptions
from vita_demo.model.decode.prefill import Prefill
from vita_demo.request import Request
from vita_demo.scheduling.claim import claim_slots


@pytest.fixture
def model(tiny7_pipeline) -> VitaForGeneration:
    return tiny7_pipeline.model


@pytest.fixture
def tape(model: VitaForGeneration, monkeypatch: pytest.MonkeyPatch) -> Tape:
    """The captures of the model, which has decoders as on a GPU."""
    tape = Tape()
    monkeypatch.setattr("vita_demo.engine.vita.capture_on", lambda _device, **_options: tape)
    monkeypatch.setattr("vita_demo.engine.vita._GPU_CAPACITY_STEP", 1024)
    # Triton's interpreter would take minutes.
    monkeypatch.setattr("vita_demo.model.decode.gpu_step.triton_serves", lambda *_: False)
    monkeypatch.setattr(model, "_spare", [])
    monkeypatch.setattr(model, "_vision", None)
    monkeypatch.setattr(model, "_audio", None)
    monkeypatch.setattr(model, "prefill", Prefill(model.language_model))
    return tape


def test_where_nothing_is_prepared_every_generation_has_its_own(model: VitaForGeneration) -> None:
    with model.lend_decoder(10) as first:
        assert first.cache.capacity == 10
    with model.lend_decoder(10) as second:
        assert second is not first


def test_a_prepared_decoder_is_lent_again_and_empty(model: VitaForGeneration, tape: Tape) -> None:
    with model.lend_decoder(700) as first:
        first.cache.length = 5
    assert first.cache.capacity == 1024
    with model.lend_decoder(1000) as second:
        assert second is first
        assert second.cache.length == 0
        with model.lend_decoder(10) as meanwhile:
            assert meanwhile is not first
    with model.lend_decoder(1500) as larger:
        assert larger.cache.capacity == 2048
    assert model._spare == [larger]


def test_a_prepared_decoder_has_no_more_room_than_the_model_has_positions(model: VitaForGeneration, tape: Tape) -> None:
    limit = model.config.text.max_position_embeddings
    with model.lend_decoder(limit - 1) as decoder:
        assert decoder.cache.capacity == limit


def test_a_generation_that_fails_gives_its_decoder_back(model: VitaForGeneration, tape: Tape) -> None:
    with pytest.raises(ValueError, match="broken"), model.lend_decoder(10) as decoder:
        raise ValueError("broken")
    assert model._spare == [decoder]


def test_what_is_prepared_beforehand_serves_answers_and_conversations(model: VitaForGeneration, tape: Tape) -> None:
    model.prepare()
    model.prepare_inputs()
    made, replays = tape.captures, tape.replays
    with model.lend_decoder(700) as decoder, torch.inference_mode():
        embeds = torch.randn(1, 3, model.config.text.hidden_size)
        plain = model.language_model(embeds, model.language_model.allocate_cache(3))
        assert torch.allclose(decoder.prefill(embeds), plain, rtol=1e-4, atol=1e-4)
    assert tape.replays == replays + 1, "a short prompt"
    conversation = model.decoder(1024)
    assert conversation is decoder
    assert conversation.cache.length == 0
    assert tape.captures == made
    grown = model.decoder(1025, conversation)
    assert (grown.cache.capacity, tape.captures) == (1025, made + 1)


@torch.inference_mode()
def test_a_picture_of_few_tiles_is_encoded_by_a_captured_call(model: VitaForGeneration, tape: Tape) -> None:
    size = model.config.vision.image_size
    pictures = [torch.randn(count, 3, size, size) for count in range(1, 7)]
    expected = [model.encode_images(tiles) for tiles in pictures]
    model.prepare_inputs()
    replays = tape.replays
    for tiles, features in zip(pictures, expected, strict=True):
        assert torch.allclose(model.encode_images(tiles), features, rtol=1e-4, atol=1e-4)
    assert tape.replays == replays + 5, "of up to 5 tiles"


@torch.inference_mode()
def test_a_short_clip_is_encoded_by_a_captured_call(model: VitaForGeneration, tape: Tape) -> None:
    bins, short = model.config.audio.num_mel_bins, (7, 8, 11, 350, 514, 515, 516, 900, 1027)
    clips = [torch.randn(frames, bins) for frames in (*short, 1028)]
    expected = [model.encode_audio(fbank) for fbank in clips]
    model.prepare_inputs()
    replays = tape.replays
    for fbank, features in zip(clips, expected, strict=True):
        found = model.encode_audio(fbank)
        assert found.shape == features.shape
        assert torch.allclose(found, features, rtol=1e-4, atol=1e-4)
    assert tape.replays == replays + len(short)
    with pytest.raises(RuntimeError):
        model.encode_audio(clips[0][:6])


def test_a_decoder_that_is_too_small_is_dropped_before_a_larger_one_is_made(
    model: VitaForGeneration, tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.prepare()
    small = weakref.ref(model._spare[0].cache)
    allocate, alive = model.language_model.allocate_cache, []
    monkeypatch.setattr(
        model.language_model, "allocate_cache", lambda capacity: alive.append(small()) or allocate(capacity)
    )
    with model.lend_decoder(1025):
        assert alive == [None]


def test_only_who_makes_many_answers_waits_for_captured_inputs(model: VitaForGeneration, tape: Tape) -> None:
    model.prepare()
    made = tape.captures
    claim_slots(model, 2, 64)
    assert tape.captures > made + 1
    made = tape.captures
    claim_slots(model, 2, 64)
    assert tape.captures == made


def test_on_a_cpu_nothing_is_prepared(model: VitaForGeneration) -> None:
    model.prepare()
    model.prepare_inputs()
    assert not model._spare
    assert model._vision is None


def test_an_answer_and_its_repetition_are_the_same_by_prepared_steps(tiny7_pipeline, tape: Tape) -> None:
    request, options = Request(question="hi"), GenerationOptions(max_new_tokens=8)
    expected = tiny7_pipeline.generate(request, options).token_ids
    answers = [tiny7_pipeline.generate(request, options).token_ids for _ in range(2)]
    assert answers == [expected, expected]
    assert tape.captures == 1


def test_the_next_turn_has_the_same_decoder_while_there_is_room(model: VitaForGeneration) -> None:
    first = model.decoder(8)
    first.prefill(torch.randn(1, 3, model.config.text.hidden_size))
    assert model.decoder(8, first) is first
    larger = model.decoder(9, first)
    assert (larger.cache.capacity, larger.cache.length) == (9, 3)
    assert torch.equal(larger.cache.keys[:, :, :, :3], first.cache.keys[:, :, :, :3])


def test_steps_of_fixed_shapes_may_be_launched_and_others_not(model: VitaForGeneration, tape: Tape) -> None:
    token = torch.tensor([1])
    with torch.inference_mode(), model.lend_decoder(10) as decoder:
        embeds = torch.randn(1, 3, model.config.text.hidden_size)
        decoder.prefill(embeds)
        launched = decoder.launch(token, 0).clone()
        assert decoder.cache.length == 3
        assert torch.equal(decoder.step(token), launched)
        assert decoder.cache.length == 4


def test_other_steps_may_not_be_launched(model: VitaForGeneration) -> None:
    with pytest.raises(GenerationError, match="cannot be launched"):
        model.decoder(10).launch(torch.tensor([1]), 0)
