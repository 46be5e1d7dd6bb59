"""Weights in few bits: near the numbers that they stand for, in every path, and never whole in more bits."""

import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import ASSETS
from tests.model.fakes import WIDE, make_layer, make_model, walk
from tools.save_checkpoint import save_checkpoint
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.doctor.checkpoint import count_parameters
from vita_demo.commands.doctor.memory import MemoryTable
from vita_demo.errors import CheckpointError, ConfigError, InputError
from vita_demo.generation.options import GenerationOptions
from vita_demo.model import language_model
from vita_demo.model.loading.checkpoint import Checkpoint
from vita_demo.model.loading.safetensors_file import StoredTensor
from vita_demo.model.quantize import linear as quantized_linear
from vita_demo.model.quantize.int8 import Int8Linear
from vita_demo.model.quantize.linear import QuantizedLinear, row_blocks
from vita_demo.model.quantize.replace import FORMATS, count_values, quantize_in_place, weights_bytes
from vita_demo.model.vita import VitaModel
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request
from vita_demo.resources import resource

CPU = torch.device("cpu")


SCENE = Request(question="Describe this image.", image_paths=(ASSETS / "scene.png",))


def steps(quantize: str, weight: torch.Tensor) -> torch.Tensor:
    """The step between two values that each weight's row or group can hold."""
    if quantize == "int8":
        return (weight.abs().amax(1, keepdim=True) / 127).expand_as(weight)
    grouped = weight.view(len(weight), -1, make_layer(quantize, weight).group)
    return ((grouped.amax(2, keepdim=True) - grouped.amin(2, keepdim=True)) / 15).expand_as(grouped).flatten(1)


@pytest.fixture(scope="module")
def weight() -> torch.Tensor:
    torch.manual_seed(0)
    weight = torch.randn(112, 192) * torch.rand(112, 1)
    weight[3], weight[4], weight[5, 7] = 0, 0.3, 40
    return weight


@pytest.mark.parametrize("quantize", FORMATS)
def test_each_value_is_at_most_half_a_step_off(quantize: str, weight: torch.Tensor) -> None:
    dequantized = make_layer(quantize, weight).dequantize(slice(None), torch.float32)
    # Scale and middle are rounded themselves, to 8 bits: at an end of the range that adds up.
    allowed = 0.5 * steps(quantize, weight) + 2**-8 * weight.abs().amax(1, keepdim=True)
    assert bool(((dequantized - weight).abs() <= allowed).all())
    assert float((dequantized - weight).abs().mean()) < 0.3 * float(steps(quantize, weight).mean())
    assert torch.equal(dequantized[3], torch.zeros(192))


@pytest.mark.parametrize("quantize", FORMATS)
def test_rows_may_be_filled_in_any_blocks(quantize: str, weight: torch.Tensor) -> None:
    whole, parts = make_layer(quantize, weight), make_layer(quantize, torch.zeros_like(weight))
    for rows in reversed([*row_blocks(*weight.shape, values=1000)]):
        parts.quantize(rows, weight[rows])
    assert torch.equal(whole.packed, parts.packed)
    assert torch.equal(whole.scales, parts.scales)


@pytest.mark.parametrize(
    ("rows", "values", "multiple", "steps"),
    [
        (37888, 1 << 27, 128, [18944, 18944]),
        (3584, 1 << 27, 128, [3584]),
        (1000, 3584 * 300, 128, [256, 256, 256, 232]),
        (10, 3584 * 4, 1, [4, 4, 2]),
        (3, 1, 1, [1, 1, 1]),
        (200, 1, 128, [128, 72]),
    ],
)
def test_blocks_are_about_equal_and_aligned(rows: int, values: int, multiple: int, steps: list[int]) -> None:
    blocks = [*row_blocks(rows, 3584, values, multiple)]
    assert [block.stop - block.start for block in blocks] == steps
    assert [index for block in blocks for index in range(rows)[block]] == [*range(rows)]


@pytest.mark.parametrize("quantize", FORMATS)
@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_products_are_those_of_the_dequantized_weight(
    quantize: str, rows: int, dtype: torch.dtype, weight: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized_linear, "_CPU_BLOCK_VALUES", 1000)
    bias = torch.randn(112).to(dtype)
    layer, x = make_layer(quantize, weight, bias), torch.randn(1, rows, 192).to(dtype)
    expected = F.linear(x.float(), layer.dequantize(slice(None), torch.float32), bias.float())
    layer.pack()
    found = layer(x)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert float((found.float() - expected).abs().max()) < 0.01 * float(expected.abs().max())


@torch.inference_mode()
def test_many_rows_in_float32_are_multiplied_in_float32(weight: torch.Tensor) -> None:
    layer, x = make_layer("int8", weight), torch.randn(quantized_linear.MIN_CPU_GEMM_ROWS, 192)
    expected = F.linear(x, layer.dequantize(slice(None), torch.float32))
    assert torch.allclose(layer(x), expected, atol=1e-4)


@pytest.mark.parametrize(("quantize", "tolerance"), [("int8", 0.05), ("int4", 0.4)])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_stay_near_and_every_step_gives_them(quantize: str, tolerance: float, tied: bool) -> None:
    config = replace(WIDE, tie_word_embeddings=tied)
    plain, model = make_model(config), make_model(config)
    for parameter in (*plain.parameters(), *model.parameters()):
        # As wide as this, the model would make much of every rounding.
        parameter.data.mul_(0.25 if parameter.dim() == 2 else 1)
    quantize_in_place(model, quantize)
    (ours, modules), (expected, _) = walk(model, [3, 96, 0, 41]), walk(plain, [3, 96, 0, 41])
    for one, other, number in zip(ours, modules, expected, strict=True):
        assert float((one - other).norm()) < 0.03 * float(other.norm())
        assert float((one - number).norm()) < tolerance * float(number.norm())
    assert isinstance(model.lm_head, Int8Linear)
    assert isinstance(model.layers[0].mlp.down_proj, FORMATS[quantize])
    assert count_values(model) == count_values(plain) + tied * 101 * 192


@torch.inference_mode()
def test_long_prompts_pass_the_mlp_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompt = make_model(WIDE), torch.randn(1, 23, 192)
    whole = model(prompt, model.allocate_cache(23))
    monkeypatch.setattr(language_model, "MLP_POSITIONS", 10)
    assert torch.allclose(model(prompt, model.allocate_cache(23)), whole, rtol=1e-4, atol=1e-4)


def test_eight_bits_answer_as_float32_does(embedded_pipeline: Pipeline) -> None:
    options = GenerationOptions(max_new_tokens=64)
    small = Pipeline.load(device="cpu", dtype="float32", quantize="int8")
    assert small.model.quantize == "int8"
    assert small.generate(SCENE, options).token_ids == embedded_pipeline.generate(SCENE, options).token_ids


def load(pipeline: Pipeline, quantize: str | None, dtype: torch.dtype = torch.bfloat16):
    folder, tokenizer = pipeline.settings.folder, pipeline.tokenizer
    checkpoint = Checkpoint.open(folder, pipeline.settings.config, len(tokenizer))
    return checkpoint.load(VitaModel, CPU, dtype, quantize=quantize)


@pytest.mark.parametrize("quantize", FORMATS)
def test_loading_equals_quantizing_what_was_loaded(
    quantize: str, embedded_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized_linear, "_QUANTIZE_BLOCK_VALUES", 50_000)
    # The embedded weights are stored in 16 bits, so that float32 holds them exactly.
    loaded, other = load(embedded_pipeline, quantize, torch.float32), load(embedded_pipeline, None, torch.float32)
    quantize_in_place(other.language_model, quantize)
    found, expected = loaded.state_dict(), other.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert not any(isinstance(module, QuantizedLinear) for module in loaded.vision_encoder.modules())


@pytest.mark.parametrize("quantize", FORMATS)
def test_never_more_than_one_matrix_is_there_in_more_bits(
    quantize: str, embedded_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, most, read, lock = weakref.WeakSet(), [0], StoredTensor.read, threading.Lock()

    def tracked(stored: StoredTensor, *arguments: object) -> torch.Tensor:
        tensor = read(stored, *arguments)
        with lock:
            alive.add(tensor)
            most[0] = max(most[0], sum(tensor.nbytes for tensor in alive))
        return tensor

    largest = max(
        tensor.size_bytes for name, tensor in _stored(embedded_pipeline).items() if name.endswith("proj.weight")
    )
    monkeypatch.setattr(StoredTensor, "read", tracked)
    monkeypatch.setattr(quantized_linear, "_QUANTIZE_BLOCK_VALUES", 192 * 64)
    load(embedded_pipeline, quantize)
    assert 0 < most[0] <= largest
    assert not alive


def _stored(pipeline: Pipeline) -> dict[str, StoredTensor]:
    checkpoint = Checkpoint.open(pipeline.settings.folder, pipeline.settings.config, len(pipeline.tokenizer))
    return {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith("model.layers.")}


@pytest.mark.parametrize("quantize", FORMATS)
def test_the_doctor_counts_what_is_loaded(quantize: str, embedded_pipeline: Pipeline) -> None:
    def size_bytes(quantize: str | None) -> int:
        return sum(tensor.nbytes for tensor in load(embedded_pipeline, quantize).state_dict().values())

    config = embedded_pipeline.settings.config
    table = MemoryTable.of(count_parameters(config), config, ())
    saved = size_bytes(None) - size_bytes(quantize)
    assert saved == table.need("bfloat16").weights_bytes - table.need(quantize).weights_bytes
    assert saved > 0
    model = load(embedded_pipeline, quantize).language_model
    assert weights_bytes(config.text, quantize, 2) == sum(parameter.nbytes for parameter in model.parameters())
    assert model.bytes_per_token(0) == weights_bytes(config.text, quantize, 2) - model.embed_tokens.weight.nbytes


def test_the_released_model_runs_within_8_gigabytes_in_4_bits() -> None:
    config = VitaConfig.from_pretrained(resource("configs", "vita15"))
    table = MemoryTable.of(8_322_947_232, config, ())
    layers = 28 * (4608 * 3584 + 3584 * 3584 + 37888 * 3584 + 3584 * 18944)
    vocab_size = 152_064
    head = vocab_size * 3584 - 2 * vocab_size
    saved = {name: table.need("bfloat16").weights_bytes - table.need(name).weights_bytes for name in FORMATS}
    assert saved["int4"] == layers * 3 // 2 - layers // 128 * 4 + head
    assert table.need("int4").weights_bytes < 6.6e9
    assert table.need("int4").total_bytes < 7.5e9
    assert saved["int8"] == layers - 2 * 28 * (4608 + 3584 + 37888 + 3584) + head


@pytest.mark.parametrize(
    ("quantize", "change", "words"),
    [
        ("int8", {"intermediate_size": 80}, r"multiple of 1 rows and 32 columns, not 192 × 80"),
        ("int4", {"intermediate_size": 96}, r"multiple of 16 rows and 64 columns, not 192 × 96"),
        ("int4", {"intermediate_size": 68}, r"multiple of 16 rows and 64 columns, not 136 × 192"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_one_line(quantize: str, change: dict, words: str) -> None:
    model = make_model(replace(WIDE, **change))
    with pytest.raises(ConfigError, match=f"--quantize {quantize} takes matrices with a {words}") as error:
        quantize_in_place(model, quantize)
    assert "\n" not in str(error.value)


def test_unknown_formats_and_the_other_engine_are_refused_in_one_line(vita, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--quantize int5 is unknown; give int8 or int4"):
        Pipeline.load(quantize="int5")
    ask = ("--question", "hi", "--device", "cpu", "--quantize")
    assert vita(*ask, "int5").error.startswith("--quantize int5 is unknown")
    words = "--quantize int8 runs in the native engine only and {} does not"
    assert vita(*ask, "int8", "--engine", "transformers").error.startswith(words.format("--engine transformers"))
    assert vita(*ask, "int8", "--num_beams", 2).error.startswith(words.format("num_beams"))
    run = vita("compare", *ask, "int8", "--modes", "blocking,transformers")
    assert run.error.startswith(words.format("--engine transformers"))


def test_quantized_weights_go_nowhere_else(tmp_path: Path) -> None:
    small = Pipeline.load(device="cpu", quantize="int4")
    with pytest.raises(ConfigError, match="runs no int4 weights"):
        small.model.as_transformers()
    with pytest.raises(ConfigError, match="--quantize int4 runs in the native engine only"):
        small.generate(SCENE, GenerationOptions(engine="transformers"))
    with pytest.raises(CheckpointError, match="weights in int4 cannot be saved"):
        save_checkpoint(small.model, tmp_path)


def test_the_flag_and_the_preset_reach_the_model_and_are_kept(vita, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('quantize = "int8"\n')
    ask = ("--question", "hi", "--device", "cpu", "--max_new_tokens", 2, "--json")
    plain = vita(*ask).json["model"]
    assert plain["quantize"] is None
    assert vita(*ask, "--quantize", "int4").json["model"] == {**plain, "quantize": "int4"}
    run = vita(*ask, "--config", preset, "--save_run", tmp_path / "run")
    assert run.json["model"] == {**plain, "quantize": "int8"}
    assert vita("replay", tmp_path / "run").code == 0


def test_a_comparison_leaves_the_other_engine_out(vita, tmp_path: Path) -> None:
    ask = ("compare", "--question", "hi", "--device", "cpu", "--max_new_tokens", 2, "--runs", 1)
    run = vita(*ask, "--quantize", "int8", "--output", tmp_path / "c.md")
    assert run.code == 0
    text = (tmp_path / "c.md").read_text()
    assert "iterator" in text
    assert "in int8 and float32 on cpu" in text
    assert "transformers |" not in text
