"""The Triton kernels for quantized weights; without a GPU Triton's interpreter runs them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.model.fakes import make_layer
from vita_demo.model.quantize import linear
from vita_demo.model.quantize.int4 import Int4Linear
from vita_demo.model.quantize.kernels import triton_dequantizers, triton_products
from vita_demo.model.quantize.linear import QuantizedLinear
from vita_demo.model.quantize.replace import FORMATS

pytest.importorskip("triton", reason="needs Triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_gpu(layer: QuantizedLinear) -> tuple[Tensor, Tensor]:
    """What a layer on a GPU is after ``pack``."""
    layer = layer.to(DEVICE)
    if isinstance(layer, Int4Linear):
        layer.pack_for_triton()
    return layer.packed, layer.scales


def test_without_a_compiler_there_are_no_products_and_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Triton looks for one when a kernel is first launched."""

    def launch(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler\nspecify one")

    monkeypatch.setattr("vita_demo.model.quantize.triton_kernels.multiply_int8", launch)
    assert triton_products.__wrapped__(DEVICE) == {}
    [record] = caplog.records
    assert record.getMessage().startswith("Triton cannot be used (Failed to find C compiler): ")


@pytest.mark.parametrize("quantize", FORMATS)
@pytest.mark.parametrize("shape", [(16, 64), (48, 192), (16, 2624)])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_product_is_that_of_the_dequantized_weight(
    quantize: str, shape: tuple[int, int], rows: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = make_layer(quantize, torch.randn(shape, generator=generator))
    x = torch.randn(rows, shape[1], generator=generator).to(dtype)
    expected = F.linear(x.float(), layer.dequantize(slice(None), torch.float32))
    product, weight = triton_products(DEVICE)[quantize], on_gpu(layer)
    found = product(x.to(DEVICE), *weight)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert float((found.float().cpu() - expected).abs().max()) < tolerance * float(expected.abs().max())
    gate, up = expected[:1].chunk(2, dim=1)
    addend = torch.randn(shape[0] // 2, generator=generator).to(dtype)
    gated = product(x[:1].to(DEVICE), *weight, addend=addend.to(DEVICE), gated=True).float().cpu()
    expected = F.silu(gate) * up + addend.float()
    # The product of two sums has the rounding of both.
    assert float((gated - expected).abs().max()) < 5 * tolerance * float(expected.abs().max())


@pytest.mark.parametrize("quantize", FORMATS)
@pytest.mark.parametrize("shape", [(32, 64), (32, 192), (32, 2624)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_product_takes_the_norm_along(quantize: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = make_layer(quantize, torch.randn(shape, generator=generator))
    x, norm = (scale * torch.randn(1, shape[1], generator=generator).to(dtype) for scale in (3, 0.1))
    normed = F.rms_norm(x.float(), shape[1:], norm[0].float(), 1e-2)
    expected = F.linear(normed, layer.dequantize(slice(None), torch.float32))
    product, weight = triton_products(DEVICE)[quantize], on_gpu(layer)
    along = {"norm": norm[0].to(DEVICE), "eps": 1e-2}
    found = product(x.to(DEVICE), *weight, **along).float().cpu()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert float((found - expected).abs().max()) < tolerance * float(expected.abs().max())
    gate, up = expected.chunk(2, dim=1)
    gated = product(x.to(DEVICE), *weight, gated=True, **along).float().cpu()
    expected = F.silu(gate) * up
    assert float((gated - expected).abs().max()) < 5 * tolerance * float(expected.abs().max())


@pytest.mark.parametrize("quantize", FORMATS)
@pytest.mark.parametrize("shape", [(16, 64), (48, 192), (112, 896), (32, 2624)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dequantizing_in_one_pass_rounds_as_the_operations_do(
    quantize: str, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    layer = make_layer(quantize, torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    weight = on_gpu(layer)
    found = triton_dequantizers(DEVICE)[quantize](*weight, dtype)
    expected = layer.dequantize(slice(None), dtype)
    if dtype == torch.bfloat16 and DEVICE.type == "cpu":
        # Triton's interpreter cuts off what it should round.
        assert torch.allclose(found, expected, rtol=2**-5, atol=2**-5)
    else:
        assert torch.equal(found, expected)


@pytest.mark.parametrize("quantize", FORMATS)
def test_a_prompt_is_multiplied_by_blocks_of_the_kernel(quantize: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer(quantize, torch.randn(48, 192, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(20, 192, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    expected = F.linear(x.cpu(), layer.dequantize(slice(None), torch.float32))
    on_gpu(layer)
    monkeypatch.setattr(type(layer), "by_triton", True)
    monkeypatch.setattr(type(layer), "dequantize", lambda *_: pytest.fail("the kernel should do it"))
    for name in ("_CPU_BLOCK_VALUES", "_CUDA_BLOCK_VALUES"):
        monkeypatch.setattr(linear, name, 192 * 16)
    monkeypatch.setattr(linear, "_CUDA_BLOCK_ROWS", 1)
    monkeypatch.setattr(type(layer), "multiply_on_cpu", lambda *_: None)
    assert torch.allclose(layer.matmul(x).cpu(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("columns", [64, 192, 2624, 256])
def test_words_hold_the_weight(columns: int) -> None:
    layer = make_layer("int4", torch.randn(16, columns, generator=torch.Generator().manual_seed(0)))
    expected = layer.dequantize(slice(None), torch.float32)
    layer.pack_for_triton()
    assert torch.equal(layer.dequantize(slice(None), torch.float32), expected)
