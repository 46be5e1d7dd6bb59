"""Quantized products on a GPU: the kernels give what the dequantized weights give, and 7 billion weights fit 8 GB."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.model.fakes import CONFIG, make_layer, make_model
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.quantize import linear
from vita_demo.model.quantize.kernels import MAX_GPU_KERNEL_ROWS, triton_products
from vita_demo.model.quantize.replace import FORMATS, quantize_in_place, replace_linears
from vita_demo.resources import resource

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


@pytest.mark.parametrize("quantize", FORMATS)
@pytest.mark.parametrize("shape", [(16, 64), (48, 192), (112, 896), (160, 3584), (1296, 9472)])
@pytest.mark.parametrize("rows", [1, 3, MAX_GPU_KERNEL_ROWS, 40])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@torch.inference_mode()
def test_products_are_those_of_the_dequantized_weight(
    quantize: str, shape: tuple[int, int], rows: int, dtype: torch.dtype
) -> None:
    weight, bias = torch.randn(shape), torch.randn(shape[0]).to(dtype)
    on_cpu, layer = make_layer(quantize, weight), make_layer(quantize, weight, bias).to(CUDA)
    assert torch.equal(layer.packed.cpu(), on_cpu.packed)
    layer.pack()
    x = torch.randn(1, rows, shape[1]).to(dtype)
    expected = F.linear(x.float(), on_cpu.dequantize(slice(None), torch.float32), bias.float())
    found = layer(x.to(CUDA)).float().cpu()
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 0.01 * float(expected.abs().max())


@pytest.mark.parametrize("quantize", FORMATS)
@torch.inference_mode()
def test_without_triton_the_weights_are_dequantized(quantize: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert triton_products(CUDA), "Triton comes with torch for CUDA"
    layer = make_layer(quantize, torch.randn(112, 192)).to(CUDA)
    layer.pack()
    x = torch.randn(1, 192, device=CUDA)
    with_kernels = layer(x)
    monkeypatch.setattr(linear, "triton_products", lambda _device: {})
    assert torch.allclose(layer(x), with_kernels, rtol=1e-2, atol=1e-1)


@pytest.mark.parametrize("quantize", FORMATS)
@torch.inference_mode()
def test_a_captured_step_gives_the_same_logits(quantize: str) -> None:
    model = make_model(replace(CONFIG, hidden_size=192, intermediate_size=320), torch.bfloat16).to(CUDA)
    quantize_in_place(model, quantize)
    x = torch.randn(1, 1, 192, device=CUDA, dtype=torch.bfloat16)
    mlp = model.layers[0].mlp
    expected = mlp(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = mlp(x)
    graph.replay()
    assert torch.equal(found, expected)


@torch.inference_mode()
def test_the_released_shape_reads_its_longest_prompt_within_8_gigabytes() -> None:
    config = VitaConfig.from_pretrained(resource("configs", "vita15"))
    with torch.device("meta"):
        model = LanguageModel(config.text).to(torch.bfloat16)
    layers = replace_linears(model, "int4")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model = model.to_empty(device=CUDA)
    for parameter in model.parameters():
        parameter.zero_()
    for layer in layers.values():
        layer.pack()
    cache = model.allocate_cache(config.trained_positions)
    model(torch.zeros(1, config.trained_positions - 1, 3584, device=CUDA, dtype=torch.bfloat16), cache)
    model(torch.zeros(1, 1, 3584, device=CUDA, dtype=torch.bfloat16), cache)
    encoders_bytes = 2 * 710_000_000
    assert torch.cuda.max_memory_allocated() - before + encoders_bytes < 8e9
