"""The step's Triton kernels compute what the modules compute; without a GPU Triton's interpreter runs them."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.model.fakes import IDS, SMALL, Tape, close, filled_cache, make_model, through_the_modules
from vita_demo.model.decode.gpu_step import GpuStep, triton_serves
from vita_demo.model.decode.torch_step import TorchStep
from vita_demo.model.language_model import LanguageModel, rotary_table, rotate
from vita_demo.model.quantize.int4 import Int4Linear
from vita_demo.model.quantize.int8 import Int8Linear
from vita_demo.model.quantize.kernels import triton_products
from vita_demo.model.quantize.linear import QuantizedLinear
from vita_demo.model.quantize.replace import quantize_in_place

pytest.importorskip("triton", reason="needs Triton")
pytestmark = pytest.mark.slow
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


DTYPES = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.fixture(scope="module")
def kernels():
    from vita_demo.model.decode import triton_kernels

    return triton_kernels


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def deviation(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 16), (5, 48), (7, 2500)])
@torch.inference_mode()
def test_a_product_takes_norm_and_addend_along(kernels, shape: tuple[int, int], dtype: torch.dtype) -> None:
    n, k = shape
    x, weight, norm, addend = draw(1, k, dtype=dtype), draw(n, k, seed=1, dtype=dtype), draw(k, seed=2), draw(n, seed=3)
    plain = kernels.multiply(x, weight)
    assert plain.dtype == dtype
    assert deviation(plain, x.float() @ weight.float().t()) < DTYPES[dtype]
    found = kernels.multiply(x, weight, norm=norm.to(dtype), eps=1e-5, addend=addend.to(dtype))
    normed = F.rms_norm(x.float(), (k,), norm.to(dtype).float(), 1e-5)
    assert deviation(found, normed @ weight.float().t() + addend.to(dtype).float()) < DTYPES[dtype]


@pytest.mark.parametrize("outputs", [1, 9, 64])
@pytest.mark.parametrize("dtype", DTYPES)
@torch.inference_mode()
def test_a_product_takes_the_gate_along(kernels, outputs: int, dtype: torch.dtype) -> None:
    x, weight, addend = draw(1, 1100, dtype=dtype), draw(2 * outputs, 1100, seed=2, dtype=dtype), draw(outputs, seed=3)
    found = kernels.multiply(x, weight, gated=True, addend=addend.to(dtype))
    gate, up = F.linear(x.float(), weight.float()).chunk(2, dim=1)
    assert deviation(found, F.silu(gate) * up + addend.to(dtype).float()) < DTYPES[dtype]


# Triton's interpreter multiplies matrices in bfloat16 wrongly.
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if torch.cuda.is_available() or dtype != torch.bfloat16])
@pytest.mark.parametrize(("position", "splits"), [(0, 4), (1, 4), (64, 1), (65, 4), (300, 2)])
@torch.inference_mode()
def test_attention_appends_and_reads_what_is_filled_only(
    kernels, position: int, splits: int, dtype: torch.dtype
) -> None:
    heads, kv_heads, head_dim, capacity = 6, 2, 32, 310
    qkv = draw(heads + 2 * kv_heads, head_dim, dtype=dtype)
    tables = rotary_table(replace(SMALL, hidden_size=128), capacity, torch.device("cpu"))
    cos, sin = (table.to(DEVICE, dtype) for table in tables)
    keys, values = draw(2, kv_heads, capacity, head_dim, seed=1, dtype=dtype)
    keys[:, position:], values[:, position:] = float("nan"), float("inf")
    expected_keys, expected_values = keys.clone(), values.clone()
    turned = rotate(qkv[:-kv_heads], cos[position], sin[position])
    expected_keys[:, position], expected_values[:, position] = turned[heads:], qkv[-kv_heads:]
    expected = F.scaled_dot_product_attention(
        turned[None, :heads, None].float(),
        expected_keys[None, :, : position + 1].float(),
        expected_values[None, :, : position + 1].float(),
        enable_gqa=True,
    )
    at = torch.tensor([position], device=DEVICE)
    found = kernels.attend(qkv, (cos, sin), at, keys, values, splits)
    assert deviation(found, expected.reshape(1, -1)) < DTYPES[dtype]
    for cache, other in ((keys, expected_keys), (values, expected_values)):
        assert torch.allclose(cache.float(), other.float(), atol=DTYPES[dtype], equal_nan=True)


@pytest.fixture
def tall(kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each program more rows: the interpreter's time is that of the number of programs."""
    monkeypatch.setattr(kernels, "_ROWS", 32)


def take_steps(
    model: LanguageModel, positions: int, ids: list[int], plain: LanguageModel | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Logits after each id by the kernels, and by the modules of ``plain`` or of the same model."""
    from vita_demo.model.decode.triton_step import TritonStep

    plain = plain or model
    ours, theirs = filled_cache(plain, positions), filled_cache(plain, positions)
    taken, found = [], []
    step = GpuStep(model, ours, lambda call: taken.append(call) or call)
    assert isinstance(bound_to(taken[0]), TritonStep)
    found = [step(torch.tensor([i])).clone() for i in ids]
    return found, through_the_modules(plain, theirs, ids)


def bound_to(call: Callable[[], object]) -> object:
    """The implementation that a captured call takes its step with."""
    return next(cell.cell_contents for cell in call.__closure__ if isinstance(cell.cell_contents, TorchStep))


@pytest.mark.usefixtures("tall")
@pytest.mark.skipif(torch.cuda.is_available(), reason="test_cuda.py takes them where there are graphs")
@pytest.mark.parametrize("shape", [SMALL, replace(SMALL, num_key_value_heads=1, tie_word_embeddings=True)])
@torch.inference_mode()
def test_steps_of_kernels_give_the_modules_logits(shape) -> None:
    assert close(*take_steps(make_model(shape), 14, IDS[:3]))


@pytest.mark.usefixtures("tall")
@pytest.mark.skipif(torch.cuda.is_available(), reason="test_cuda.py takes them where there are graphs")
@pytest.mark.parametrize("quantize", ["int8", "int4"])
@pytest.mark.parametrize("by_triton", [False, True])
@torch.inference_mode()
def test_steps_of_kernels_take_quantized_layers(
    quantize: str, by_triton: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed for the CPU, or as on a GPU."""
    plain, model = make_model(replace(SMALL, vocab_size=96)), make_model(replace(SMALL, vocab_size=96))
    if by_triton:
        monkeypatch.setattr(Int4Linear, "pack", Int4Linear.pack_for_triton)
        monkeypatch.setattr(Int4Linear, "multiply_on_cpu", lambda *_: None)
        monkeypatch.setattr(Int8Linear, "by_triton", True)
    quantize_in_place(model, quantize)
    if by_triton:
        # The modules on the CPU multiply by what the weights stand for.
        for name, layer in [item for item in model.named_modules() if isinstance(item[1], QuantizedLinear)]:
            plain.get_parameter(f"{name}.weight").copy_(layer.dequantize(slice(None), torch.float32))
    ours, theirs = take_steps(model, 9, [3, 95, 0], plain if by_triton else model)
    assert close(ours, theirs, 1e-4 if by_triton else 0.02)


@pytest.mark.usefixtures("tall")
@pytest.mark.skipif(torch.cuda.is_available(), reason="breaks kernels that Triton would interpret")
@pytest.mark.parametrize("fault", ["absent", "off by one"])
@torch.inference_mode()
def test_kernels_that_fail_or_disagree_are_left_for_torchs_operations(
    kernels, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attend = kernels.attend

    def broken(qkv, rotary, position, keys, values, splits):
        if fault == "absent":
            raise RuntimeError("no C compiler\nwas found")
        return attend(qkv, rotary, position - 1, keys, values, splits)

    monkeypatch.setattr(kernels, "attend", broken)
    model = make_model(SMALL)
    with caplog.at_level(logging.WARNING):
        step, plain = GpuStep(model, filled_cache(model, 9), Tape()), GpuStep(model, filled_cache(model, 9))
        for token_id in map(torch.tensor, ([i] for i in IDS)):
            assert torch.equal(step(token_id), plain(token_id))
    reason = "no C compiler" if fault == "absent" else "it gives other results"
    assert [record.getMessage() for record in caplog.records] == [
        f"the decode step cannot use Triton kernels ({reason}): it runs slower"
    ]


def test_kernels_are_for_heads_that_they_can_take() -> None:
    assert [triton_serves(DEVICE, head_dim) for head_dim in (128, 16, 48, 8)] == [True, True, False, False]


def test_the_cache_is_cut_into_a_power_of_two_of_splits() -> None:
    from vita_demo.model.decode.triton_step import count_splits

    assert [count_splits(torch.device("cpu"), kv_heads) for kv_heads in (1, 3, 4, 8, 100)] == [8, 2, 2, 1, 1]


class Launches(TorchDispatchMode):
    """Counts torch's operations that compute or copy, by name, and launches of kernels, which compute nothing."""

    QUIET = ("view", "view.dtype", "_unsafe_view", "unbind.int", "select.int", "new_empty")

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removeprefix("aten.").removesuffix(".default")
        self.counts.update([name] if name not in self.QUIET else [])
        return func(*args, **(kwargs or {}))

    def kernel(self, name: str) -> object:
        return defaultdict(lambda: lambda *_, **__: self.counts.update([name]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts kernels that are not launched")
@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@torch.inference_mode()
def test_a_layer_takes_few_launches(kernels, quantize: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six a layer, with quantized weights too; and the embedding and the head."""
    from vita_demo.model.decode.triton_step import TritonStep
    from vita_demo.model.quantize import triton_kernels as quantized

    layers, launches = 3, Launches()
    model = make_model(replace(SMALL, num_hidden_layers=layers, vocab_size=96))
    if quantize:
        monkeypatch.setattr(Int4Linear, "pack", Int4Linear.pack_for_triton)
        monkeypatch.setattr(Int8Linear, "by_triton", True)
        quantize_in_place(model, quantize)
    step = TritonStep(model, model.allocate_cache(20))
    quantized_products = triton_products(DEVICE)
    monkeypatch.setattr("vita_demo.model.decode.triton_step.triton_products", lambda _device: quantized_products)
    for module, name in ((kernels, "_multiply"), (kernels, "_attend"), (kernels, "_combine"),
                         (quantized, "_int8"), (quantized, "_int4")):  # fmt: skip
        monkeypatch.setattr(module, name, launches.kernel(name))
    token, position = torch.tensor([3]), torch.tensor([9])
    with launches:
        step(token, position)
    assert launches.counts.pop("embedding") == 1
    attention = {"_attend": layers, "_combine": layers}
    products = {
        None: {"_multiply": 4 * layers + 1},
        "int8": {"_int8": 4 * layers + 1},
        "int4": {"_int4": 4 * layers, "_int8": 1},
    }
    assert launches.counts == {**attention, **products[quantize]}
