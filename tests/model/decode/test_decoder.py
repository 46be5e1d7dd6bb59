"""Who gets which decoder: a fresh one, the last one again, or a larger one."""

import pytest
import torch

from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import GenerationError
from vita_demo.model.decode import torch_step


@pytest.fixture
def model(tiny7_pipeline) -> VitaForGeneration:
    return tiny7_pipeline.model


@pytest.fixture
def preparing(model: VitaForGeneration, monkeypatch: pytest.MonkeyPatch) -> VitaForGeneration:
    """The model with decoders that are worth keeping, without a compiler's minute."""
    monkeypatch.setattr(torch_step, "fused", lambda function: function)
    monkeypatch.setattr(model, "compiled", True)
    monkeypatch.setattr(model, "_spare", [])
    return model


def test_where_nothing_is_prepared_every_generation_has_its_own(model: VitaForGeneration) -> None:
    with model.lend_decoder(10) as first:
        assert first.cache.capacity == 10
    with model.lend_decoder(10) as second:
        assert second is not first


def test_a_prepared_decoder_is_lent_again_and_empty(preparing: VitaForGeneration) -> None:
    with preparing.lend_decoder(700) as first:
        first.cache.length = 5
    assert first.cache.capacity == 1024
    with preparing.lend_decoder(1000) as second:
        assert second is first
        assert second.cache.length == 0
        with preparing.lend_decoder(10) as meanwhile:
            assert meanwhile is not first
    with preparing.lend_decoder(1500) as larger:
        assert larger.cache.capacity == 2048
    assert preparing._spare == [larger]


def test_a_prepared_decoder_has_no_more_room_than_the_model_has_positions(preparing: VitaForGeneration) -> None:
    limit = preparing.config.text.max_position_embeddings
    with preparing.lend_decoder(limit - 1) as decoder:
        assert decoder.cache.capacity == limit


def test_a_generation_that_fails_gives_its_decoder_back(preparing: VitaForGeneration) -> None:
    with pytest.raises(ValueError, match="broken"), preparing.lend_decoder(10) as decoder:
        raise ValueError("broken")
    assert preparing._spare == [decoder]


def test_steps_are_prepared_beforehand_and_leave_no_trace(preparing: VitaForGeneration) -> None:
    preparing.prepare_steps()
    with preparing.lend_decoder(10) as decoder, torch.inference_mode():
        assert decoder.cache.length == 0
        assert decoder.prepared_s["compile"] > 0
        embeds = torch.randn(1, 3, preparing.config.text.hidden_size)
        plain = preparing.language_model(embeds, preparing.language_model.allocate_cache(3))
        assert torch.equal(decoder.prefill(embeds), plain)
        decoder.step(torch.tensor([1]))
        assert not decoder.prepared_s, "only the steps of this generation count, and they were prepared"


def test_the_next_turn_has_the_same_decoder_while_there_is_room(model: VitaForGeneration) -> None:
    first = model.decoder(8)
    first.prefill(torch.randn(1, 3, model.config.text.hidden_size))
    assert model.decoder(8, first) is first
    larger = model.decoder(9, first)
    assert (larger.cache.capacity, larger.cache.length) == (9, 3)
    assert torch.equal(larger.cache.keys[:, :, :, :3], first.cache.keys[:, :, :, :3])


def test_steps_of_fixed_shapes_may_be_launched_and_others_not(preparing: VitaForGeneration) -> None:
    token = torch.tensor([1])
    with torch.inference_mode(), preparing.lend_decoder(10) as decoder:
        embeds = torch.randn(1, 3, preparing.config.text.hidden_size)
        decoder.prefill(embeds)
        launched = decoder.launch(token, 0).clone()
        assert decoder.cache.length == 3
        assert torch.equal(decoder.step(token), launched)
        assert decoder.cache.length == 4
    preparing.compiled = False
    with pytest.raises(GenerationError, match="cannot be launched"):
        preparing.decoder(10).launch(token, 0)
