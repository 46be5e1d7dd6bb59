"""The CPU's own products with quantized weights, and when they are taken."""

import logging

import pytest
import torch
import torch.nn.functional as F

from tests.model.fakes import WIDE, make_layer, make_model, walk
from vita_demo.model.ops.cpu_profile import cpu_profile
from vita_demo.model.quantize import int4, int8, kernels, numba_kernels
from vita_demo.model.quantize import linear as quantized_linear
from vita_demo.model.quantize.linear import MIN_CPU_GEMM_ROWS
from vita_demo.model.quantize.replace import FORMATS, quantize_in_place

FORMATS_TIMED = {"int8": int8, "int4": int4}
SHAPES = [(16, 64), (48, 192), (112, 896), (32, 4672), (1, 256)]


@pytest.fixture
def always(use_profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take Numba's kernels however small the matrix and however fast torch."""
    monkeypatch.setattr(quantized_linear, "_LARGE_VALUES", 0)
    use_profile(int8_by_numba=True, int4_by_numba=True)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("quantize", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 3, MIN_CPU_GEMM_ROWS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_products_are_those_of_the_dequantized_weight(
    quantize: str, shape: tuple[int, int], rows: int, dtype: torch.dtype
) -> None:
    """With outliers and zeros in the row, as activations have them."""
    if shape[0] % FORMATS[quantize].rows_multiple:
        pytest.skip("the format takes no matrix of this shape")
    generator = torch.Generator().manual_seed(0)
    layer, x = make_layer(quantize, torch.randn(shape, generator=generator)), torch.randn(rows, shape[1]).to(dtype)
    x[:, 7], x[:, 32:64] = 50, 0
    wide = layer.dequantize(slice(None), torch.float32)
    layer.pack()
    assert torch.equal(layer.dequantize(slice(None), torch.float32), wide)
    found, expected = layer.matmul(x).float(), F.linear(x.float(), wide)
    tolerance = 1e-2 if rows == MIN_CPU_GEMM_ROWS and dtype == torch.bfloat16 else 1e-3 if quantize == "int4" else 1e-5
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < tolerance * float(expected.abs().max())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("spread", [lambda x: x, lambda x: x**5, lambda x: torch.where(x.abs() > 2.9, 100 * x, x)])
@torch.inference_mode()
def test_rounding_the_row_errs_less_than_bfloat16(spread) -> None:
    generator = torch.Generator().manual_seed(0)
    layer, x = make_layer("int4", torch.randn(64, 3584, generator=generator)), torch.randn(1, 3584, generator=generator)
    wide, x = layer.dequantize(slice(None), torch.float64), spread(x)
    layer.pack()
    expected, through_bfloat16 = x.double() @ wide.t(), x.bfloat16().double() @ wide.t()
    assert 2 * (layer.matmul(x) - expected).norm() < (through_bfloat16 - expected).norm()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("quantize", FORMATS)
def test_every_step_gives_the_modules_logits(quantize: str) -> None:
    model = make_model(WIDE)
    quantize_in_place(model, quantize)
    for one, other in zip(*walk(model, [3, 96, 0, 41]), strict=True):
        assert float((one - other).norm()) < 0.01 * float(other.norm())


@pytest.mark.parametrize("quantize", FORMATS)
@torch.inference_mode()
def test_only_large_matrices_are_worth_a_kernel(quantize: str, use_profile, monkeypatch: pytest.MonkeyPatch) -> None:
    use_profile()
    layer = make_layer(quantize, torch.randn(48, 192))
    layer.pack()
    layer.matmul(torch.randn(1, 192))
    assert not cpu_profile().choices
    monkeypatch.setattr(quantized_linear, "_LARGE_VALUES", 48 * 192)
    monkeypatch.setattr(FORMATS_TIMED[quantize], "best_in_turn_s", lambda _first, _second: (0.1, 0.2))
    make_layer(quantize, torch.randn(48, 192)).pack()
    assert cpu_profile().choices == {f"{quantize}_by_numba": True}


@pytest.mark.parametrize("quantize", FORMATS)
@pytest.mark.parametrize("faster", [True, False])
@torch.inference_mode()
def test_the_faster_product_is_taken(quantize: str, faster: bool, use_profile, monkeypatch: pytest.MonkeyPatch) -> None:
    use_profile(**{f"{quantize}_by_numba": faster})
    monkeypatch.setattr(quantized_linear, "_LARGE_VALUES", 0)
    layer = make_layer(quantize, torch.randn(48, 192))
    layer.pack()
    calls, multiply = [], kernels.numba_product(quantize)
    spy = lambda *operands: calls.append(1) or multiply(*operands)  # noqa: E731
    monkeypatch.setattr(FORMATS_TIMED[quantize], "numba_product", lambda _: spy)
    layer.matmul(torch.randn(1, 192))
    assert bool(calls) == faster


@pytest.mark.parametrize("quantize", FORMATS)
def test_without_a_working_numba_torch_multiplies(
    quantize: str, use_profile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str) -> None:
        raise ValueError("No threading layer could be loaded.")

    use_profile(int8_by_numba=True, int4_by_numba=True)
    monkeypatch.setattr(quantized_linear, "_LARGE_VALUES", 0)
    monkeypatch.setattr(numba_kernels, "compiled_product", broken)
    kernels.numba_product.cache_clear()
    weight, x = torch.randn(48, 192), torch.randn(1, 192)
    layer = make_layer(quantize, weight)
    wide = layer.dequantize(slice(None), torch.float32)
    with caplog.at_level(logging.INFO):
        layer.pack()
        found = layer.matmul(x)
    kernels.numba_product.cache_clear()
    assert "as Numba cannot (No threading layer" in caplog.text
    assert torch.allclose(found.float(), F.linear(x, wide), atol=0.3)
