"""The Triton kernels for quantized weights; without a GPU Triton's interpreter runs them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.model.fakes import make_layer
from vita_demo.model.quantize.int4 import Int4Linear, dequantize_words, pack_for_triton
from vita_demo.model.quantize.kernels import triton_products
from vita_demo.model.quantize.linear import QuantizedLinear
from vita_demo.model.quantize.replace import FORMATS

pytest.importorskip("triton", reason="needs Triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_gpu(layer: QuantizedLinear) -> tuple[Tensor, Tensor]:
    """What a layer on a GPU is after ``pack``."""
    packed, scales = layer.packed.to(DEVICE), layer.scales.to(DEVICE)
    if isinstance(layer, Int4Linear):
        packed, scales = packed.clone(), scales.transpose(0, 1).contiguous()
        pack_for_triton(packed, layer.group)
    return packed, scales


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
    found = triton_products(DEVICE)[quantize](x.to(DEVICE), *on_gpu(layer))
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert float((found.float().cpu() - expected).abs().max()) < tolerance * float(expected.abs().max())


@pytest.mark.parametrize("columns", [64, 192, 2624, 256])
def test_words_hold_the_weight(columns: int) -> None:
    layer = make_layer("int4", torch.randn(16, columns, generator=torch.Generator().manual_seed(0)))
    packed, scales = (tensor.cpu() for tensor in on_gpu(layer))
    expected = layer.dequantize(slice(None), torch.float32)
    assert torch.equal(dequantize_words(packed, scales.float(), layer.group), expected)
