"""The way around oneDNN: the same products, and the switch is left as it was found."""

import pytest
import torch
import torch.nn.functional as F

from tests.model.fakes import make_model, walk
from vita_demo.model.decode.gemv import bind_gemv, gemv_context
from vita_demo.model.ops.onednn import bypass


@pytest.fixture(params=[True, False], ids=["around", "through"])
def around(request: pytest.FixtureRequest, use_profile) -> bool:
    use_profile(gemv_bypasses_onednn=request.param)
    return bool(request.param)


def enabled() -> bool:
    return bool(torch.backends.mkldnn.enabled)


@pytest.mark.parametrize(("rows", "columns"), [(97, 48), (192, 512), (1400, 192)])
@torch.inference_mode()
def test_either_way_gives_the_product_of_linear(rows: int, columns: int, around: bool) -> None:
    weight, x, bias = (torch.randn(size).bfloat16() for size in ((rows, columns), (columns,), (rows,)))
    expected = F.linear(x.float(), weight.float())
    out = torch.full((rows,), float("nan"), dtype=torch.bfloat16)
    with gemv_context(torch.bfloat16):
        bind_gemv(weight, x, out)()
        assert torch.allclose(out.float(), expected, rtol=2**-7, atol=1e-2)
        bind_gemv(weight, x, out, bias)(alpha=0.5)
        assert torch.allclose(out.float(), bias.float() + expected / 2, rtol=2**-7, atol=0.1)
        total = bias.clone()
        bind_gemv(weight, x, total, total)(alpha=0.5)
        assert torch.equal(total, out)


def test_a_step_goes_around_and_leaves_the_switch_on(around: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, select = [], torch.index_select
    monkeypatch.setattr(torch, "index_select", lambda *table, out: seen.append(enabled()) or select(*table, out=out))
    model = make_model(dtype=torch.bfloat16)
    ours, theirs = walk(model, [3, 96])
    assert seen == [not around] * 2
    assert enabled()
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other).abs().max()) < 0.03 * float(other.abs().max())


def test_the_last_one_out_switches_on_again() -> None:
    with bypass:
        with bypass:
            assert not enabled()
        assert not enabled()
    assert enabled()


def test_a_failure_switches_on_again() -> None:
    with pytest.raises(KeyError), bypass:
        raise KeyError
    assert enabled()


def test_what_was_off_stays_off() -> None:
    torch.backends.mkldnn.enabled = False
    try:
        with bypass:
            pass
        assert not enabled()
    finally:
        torch.backends.mkldnn.enabled = True


def test_only_bfloat16_goes_around() -> None:
    with gemv_context(torch.float32):
        assert enabled()
