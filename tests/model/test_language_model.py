"""The decoder against transformers' Qwen2, and its cache against computing everything anew."""

from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F

from tests.model.fakes import CONFIG, randomize
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.loading.transformers_bridge import views


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return randomize(LanguageModel(CONFIG))


@pytest.mark.parametrize("first", [1, 2, 17, 39])
@torch.inference_mode()
def test_any_split_of_a_sequence_gives_the_same_logits(model: LanguageModel, first: int) -> None:
    embeds = torch.randn(1, 40, CONFIG.hidden_size)
    whole = model(embeds, model.allocate_cache(40))
    cache = model.allocate_cache(64)
    model(embeds[:, :first], cache)
    assert torch.allclose(model(embeds[:, first:], cache), whole, atol=1e-4)
    assert cache.length == 40


@torch.inference_mode()
def test_attention_may_lay_out_its_heads_as_it_likes(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # Kernels for GPUs return positions outermost.
    embeds, attend = torch.randn(1, 9, CONFIG.hidden_size), F.scaled_dot_product_attention

    def logits() -> torch.Tensor:
        cache = model.allocate_cache(9)
        return torch.cat([model(embeds[:, :8], cache), model(embeds[:, 8:], cache)])

    def positions_outermost(*args: object, **options: object) -> torch.Tensor:
        return attend(*args, **options).transpose(1, 2).contiguous().transpose(1, 2)

    expected = logits()
    monkeypatch.setattr(F, "scaled_dot_product_attention", positions_outermost)
    assert torch.allclose(logits(), expected, atol=1e-5)


@torch.inference_mode()
def test_logits_equal_those_of_transformers(model: LanguageModel) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    values = asdict(CONFIG)
    rope = {"rope_type": "default", "rope_theta": values.pop("rope_theta")}
    theirs = Qwen2ForCausalLM(Qwen2Config(**values, rope_parameters=rope)).eval()
    theirs.load_state_dict(views(model))
    embeds = torch.randn(1, 300, CONFIG.hidden_size)
    expected = theirs(inputs_embeds=embeds).logits[:, -1]
    assert torch.allclose(model(embeds, model.allocate_cache(300)), expected, atol=1e-3)


def test_tied_embeddings_share_one_tensor() -> None:
    tied = LanguageModel(replace(CONFIG, tie_word_embeddings=True))
    assert tied.lm_head.weight is tied.embed_tokens.weight


def test_bytes_per_token_are_those_of_the_floor_table() -> None:
    from vita_demo.checkpoint.config import VitaConfig
    from vita_demo.resources import resource

    config = replace(VitaConfig.from_pretrained(resource("configs", "vita15")).text, vocab_size=151_665)
    with torch.device("meta"):
        full = LanguageModel(config).to(torch.bfloat16)
    assert full.bytes_per_token(1) - full.bytes_per_token(0) == 57_344
    assert full.bytes_per_token(0) == pytest.approx(14.141e9, rel=1e-3)
