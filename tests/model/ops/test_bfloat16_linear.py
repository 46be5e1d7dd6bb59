"""bfloat16 products in float32: the same numbers, and only where they are faster."""

import pytest
import torch
import torch.nn.functional as F

from tests.model.fakes import CONFIG, make_model
from vita_demo.model.ops import bfloat16_linear as upcast
from vita_demo.model.ops.bfloat16_linear import Linear, linear_in_float32


@pytest.mark.parametrize("block", [64, 1000, 1 << 19], ids=["a row", "rows and a rest", "all at once"])
@pytest.mark.parametrize("shape", [(1, 9, 48), (12, 48)])
@torch.inference_mode()
def test_blocks_make_no_difference(block: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upcast, "_BLOCK_VALUES", block)
    x, weight, bias = (torch.randn(size).bfloat16() for size in (shape, (97, 48), (97,)))
    for added in (bias, None):
        found = linear_in_float32(x, weight, added)
        expected = F.linear(x.float(), weight.float(), None if added is None else added.float())
        assert found.dtype == torch.bfloat16
        assert torch.allclose(found.float(), expected, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "rows", "faster", "taken"),
    [
        (torch.bfloat16, 8, True, True),
        (torch.bfloat16, 8, False, False),
        (torch.bfloat16, 7, True, False),
        (torch.float32, 8, True, False),
    ],
)
@torch.inference_mode()
def test_float32_is_taken_where_it_is_faster(
    dtype: torch.dtype, rows: int, faster: bool, taken: bool, use_profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    use_profile(bfloat16_gemm_in_float32=faster)
    monkeypatch.setattr(
        upcast, "linear_in_float32", lambda x, weight, bias: calls.append(x) or F.linear(x, weight, bias)
    )
    linear = Linear(48, 16).to(dtype)
    x = torch.randn(1, rows, 48, dtype=dtype)
    assert torch.equal(linear(x), F.linear(x, linear.weight, linear.bias))
    assert bool(calls) == taken


def test_training_goes_without_it(use_profile) -> None:
    use_profile(bfloat16_gemm_in_float32=True)
    linear = Linear(48, 16).bfloat16()
    linear(torch.randn(8, 48).bfloat16()).sum().backward()
    assert linear.weight.grad is not None


@torch.inference_mode()
def test_a_prompt_gives_the_same_logits_either_way(use_profile) -> None:
    model = make_model(dtype=torch.bfloat16)
    prompt = torch.randn(1, 12, CONFIG.hidden_size).bfloat16()
    logits = []
    for faster in (False, True):
        use_profile(bfloat16_gemm_in_float32=faster)
        logits.append(model(prompt, model.allocate_cache(12)))
    assert float((logits[0] - logits[1]).abs().max()) < 0.03 * float(logits[0].abs().max())
