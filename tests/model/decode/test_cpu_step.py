"""One token through the flat step equals one token through the modules."""

import pytest
import torch
import torch.nn.functional as F

from tests.model.fakes import CONFIG, PROMPT, SHAPES, make_model, walk
from vita_demo.model.decode.cpu_step import CpuStep
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.gemv import STRIPES, bind_gemv


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
    step = CpuStep(model, cache)
    first = step(torch.tensor([5])).clone()
    assert not torch.equal(step(torch.tensor([5])), first)
    cache.truncate(PROMPT)
    assert torch.equal(step(torch.tensor([5])), first)


@pytest.mark.parametrize(("dtype", "flat"), [(torch.float32, True), (torch.bfloat16, True), (torch.float16, False)])
def test_the_decoder_takes_the_step_where_it_serves(
    dtype: torch.dtype, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = make_model(dtype=dtype), []
    monkeypatch.setattr(CpuStep, "__call__", lambda _step, token_id: calls.append(int(token_id)))
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
    bind_gemv(weight, x, out)()
    assert torch.equal(out, F.linear(x[None], weight)[0])
    bind_gemv(weight, x, out, bias)()
    assert torch.equal(out, F.linear(x[None], weight, bias)[0])
    total = bias.clone()
    bind_gemv(weight, x, total, total)()
    assert torch.equal(total, out)
    bind_gemv(weight, x, out)(alpha=0.5)
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
    bind_gemv(weight, torch.randn(128), torch.empty(rows))()
    assert [len(found) for found in seen] == [stripes] * bool(stripes)
    assert all(found.data_ptr() == weight.data_ptr() for found in seen)
