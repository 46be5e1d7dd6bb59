"""One token through the flat step equals one token through the modules."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.model.test_encoders import randomize
from tests.model.test_language_model import CONFIG
from vita_demo.model.decode.cpu_step import TokenStep
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.gemv import STRIPES, bind_product
from vita_demo.model.language_model import LanguageModel

PROMPT = 9
# With one key-value head for all, with one for each query head, and with matrices large enough for stripes.
SHAPES = {
    "grouped": CONFIG,
    "one key-value head": replace(CONFIG, num_key_value_heads=1),
    "no groups": replace(CONFIG, num_key_value_heads=6, tie_word_embeddings=True),
    "striped": replace(CONFIG, hidden_size=192, intermediate_size=800, vocab_size=1400),
}


def make_model(config=CONFIG, dtype: torch.dtype = torch.float32) -> LanguageModel:
    model = randomize(LanguageModel(config))
    for layer in model.layers:
        layer.input_layernorm.weight.data.add_(1)
    return model.to(dtype).requires_grad_(False)


@torch.inference_mode()
def walk(model: LanguageModel, ids: list[int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Logits after each id, through the step and through the modules."""
    prompt = torch.randn(1, PROMPT, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    caches = [model.allocate_cache(PROMPT + len(ids)) for _ in range(2)]
    for cache in caches:
        model(prompt.to(model.norm.weight.dtype), cache)
    step = TokenStep(model, caches[0])
    ours, theirs = [], []
    for token_id in ids:
        token = torch.tensor([token_id])
        ours.append(step(token).clone())
        theirs.append(model(model.embed_tokens(token)[None], caches[1]))
    assert caches[0].length == caches[1].length
    return ours, theirs


@pytest.mark.parametrize("shape", SHAPES)
def test_every_step_gives_the_modules_logits(shape: str) -> None:
    ours, theirs = walk(make_model(SHAPES[shape]), [3, 96, 0, 41, 41])
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_steps_in_bfloat16_stay_within_its_precision() -> None:
    ours, theirs = walk(make_model(dtype=torch.bfloat16), [3, 96, 0])
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.bfloat16
        assert float((one - other).abs().max()) < 0.03 * float(other.abs().max())


@torch.inference_mode()
def test_a_truncated_cache_is_written_again() -> None:
    model, prompt = make_model(), torch.randn(1, PROMPT, CONFIG.hidden_size)
    cache = model.allocate_cache(PROMPT + 3)
    model(prompt, cache)
    step = TokenStep(model, cache)
    first = step(torch.tensor([5])).clone()
    assert not torch.equal(step(torch.tensor([5])), first)
    cache.truncate(PROMPT)
    assert torch.equal(step(torch.tensor([5])), first)


@pytest.mark.parametrize(("dtype", "flat"), [(torch.float32, True), (torch.bfloat16, True), (torch.float16, False)])
def test_the_decoder_takes_the_step_where_it_serves(
    dtype: torch.dtype, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = make_model(dtype=dtype), []
    monkeypatch.setattr(TokenStep, "__call__", lambda _step, token_id: calls.append(int(token_id)))
    Decoder(model, model.allocate_cache(4)).step(torch.tensor([7]))
    assert calls == [7] * flat


# Whole stripes, stripes and a rest, a vocabulary that no stripe divides, small ones, too small, too few rows.
@pytest.mark.parametrize(
    ("rows", "columns"),
    [(2048, 128), (1376, 256), (3001, 112), (1024, 300), (384, 192), (1297, 192), (97, 48), (64, 8192)],
)
@torch.inference_mode()
def test_products_are_those_of_linear_to_the_last_bit(rows: int, columns: int, use_profile) -> None:
    use_profile(gemv_stripes_small=True)
    weight, x, bias = torch.randn(rows, columns), torch.randn(columns), torch.randn(rows)
    out = torch.full((rows,), float("nan"))
    bind_product(weight, x, out)()
    assert torch.equal(out, F.linear(x[None], weight)[0])
    bind_product(weight, x, out, bias)()
    assert torch.equal(out, F.linear(x[None], weight, bias)[0])
    total = bias.clone()
    bind_product(weight, x, total, total)()
    assert torch.equal(total, out)
    bind_product(weight, x, out)(alpha=0.5)
    assert torch.allclose(out, 0.5 * F.linear(x, weight), atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "small_are_faster", "stripes"), [(2048, False, STRIPES), (768, True, 2), (768, False, 0)]
)
@torch.inference_mode()
def test_products_go_in_stripes_without_a_copy(
    rows: int, small_are_faster: bool, stripes: int, use_profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    use_profile(gemv_stripes_small=small_are_faster)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "baddbmm", lambda _addend, _x, weight, **_: seen.append(weight))
    weight = torch.randn(rows, 128)
    bind_product(weight, torch.randn(128), torch.empty(rows))()
    assert [len(found) for found in seen] == [stripes] * bool(stripes)
    assert all(found.data_ptr() == weight.data_ptr() for found in seen)
