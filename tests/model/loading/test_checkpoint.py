"""Loading is strict, exact and spelled as upstream; what is saved loads again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tools.save_checkpoint import save_checkpoint
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.settings import Settings
from vita_demo.errors import CheckpointError, InputError
from vita_demo.model.loading.checkpoint import Checkpoint
from vita_demo.model.vita import VitaModel

CPU = torch.device("cpu")


@pytest.fixture
def copy(embedded_pipeline, tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that a test may damage."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(embedded_pipeline.settings.folder, folder)
    return folder


def load(folder: Path, dtype: torch.dtype = torch.float32, **options: object) -> VitaModel:
    settings = Settings.read(str(folder), **options)
    return Checkpoint.open(folder, settings.config, len(settings.tokenizer)).load(VitaModel, CPU, dtype)


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def equal(one: VitaModel, two: VitaModel) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("shard_bytes", [10**9, 100_000])
def test_what_is_saved_loads_again(copy: Path, shard_bytes: int) -> None:
    model = load(copy, torch.float16)
    before = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    save_checkpoint(model, copy, shard_bytes)
    shards = sorted(copy.glob("*.safetensors"))
    assert (len(shards) > 1) == (shard_bytes < 10**6)
    assert equal(load(copy, torch.float16), model)
    after = {name: tensor for file in shards for name, tensor in load_file(file).items()}
    assert {name: list(t.shape) for name, t in after.items()} == {name: list(t.shape) for name, t in before.items()}


def test_dtypes_are_converted_and_statistics_kept(copy: Path) -> None:
    half, full = load(copy, torch.bfloat16), load(copy)
    assert half.dtype == torch.bfloat16
    assert half.audio_encoder.cmvn.mean.dtype == torch.float32
    assert torch.equal(half.projector[0].weight, full.projector[0].weight.bfloat16())


def test_the_vocabulary_is_cut_to_the_tokenizer(tiny7: Path) -> None:
    model = load(tiny7)
    assert model.language_model.lm_head.out_features == 151_665
    stored = load_file(tiny7 / "model.safetensors")["lm_head.weight"]
    assert torch.equal(model.language_model.lm_head.weight, stored[:151_665].float())


def test_progress_counts_every_byte_once(copy: Path) -> None:
    seen: list[tuple[int, int]] = []
    settings = Settings.read(str(copy))
    checkpoint = Checkpoint.open(copy, settings.config, len(settings.tokenizer))
    checkpoint.load(VitaModel, CPU, torch.float32, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == sum(tensor.size_bytes for tensor in checkpoint.tensors.values())
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_tied_embeddings_load_with_or_without_a_stored_head(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    model = load(copy)
    assert model.language_model.lm_head.weight is model.language_model.embed_tokens.weight
    edit(copy, lambda tensors: tensors.pop("lm_head.weight"))
    assert equal(load(copy), model)
    edit(copy, lambda tensors: tensors.update({"lm_head.weight": tensors.pop("model.embed_tokens.weight")}))
    assert equal(load(copy), model)


def test_a_single_file_wins_over_an_older_index(copy: Path) -> None:
    model = load(copy)
    shard = "model-00001-of-00001.safetensors"
    older = {name: torch.zeros_like(tensor) for name, tensor in load_file(copy / "model.safetensors").items()}
    save_file(older, copy / shard)
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(older, shard)}))
    assert equal(load(copy), model)


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}, None),
        ({"rope_theta": 1e6, "rope_scaling": {"type": "default"}}, None),
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0}}, "only the default rotation"),
        ({"rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 2.0}}, "only the default rotation"),
        ({}, "lacks rope_theta"),
    ],
)
def test_rotations_are_read_as_transformers_4_and_5_write_them(copy: Path, rope: dict, words: str | None) -> None:
    path = copy / "config.json"
    config = json.loads(path.read_text())
    before = config.pop("rope_theta")
    assert before == 1e6
    path.write_text(json.dumps({**config, **rope}))
    if words is None:
        assert VitaConfig.from_pretrained(copy).text.rope_theta == before
    else:
        with pytest.raises(CheckpointError, match=words):
            VitaConfig.from_pretrained(copy)


def test_a_wide_projector_means_framecat(copy: Path) -> None:
    name = "model.mm_projector.0.weight"
    edit(copy, lambda tensors: tensors.update({name: tensors[name].repeat(1, 5)}))
    assert load(copy).config.tiles_per_feature == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("model.norm.weight"), "model.norm.weight is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra is unexpected"),
        (
            lambda t: t.update({"model.norm.weight": torch.zeros(5)}),
            r"model.norm.weight has shape \[5\] instead of \[192\]",
        ),
        (
            lambda t: t.update({"model.layers.0.self_attn.k_proj.weight": torch.zeros(31, 192)}),
            r"k_proj.weight has shape \[31, 192\] instead of \[96, 192\]",
        ),
    ],
)
def test_tensors_must_fit_exactly(copy: Path, change: Callable, words: str) -> None:
    edit(copy, change)
    with pytest.raises(CheckpointError, match=words):
        load(copy)


def test_files_that_are_cut_short_or_gone_are_named(copy: Path) -> None:
    weights = copy / "model.safetensors"
    content = weights.read_bytes()
    for keep, words in ((len(content) - 1, "is truncated"), (100, "truncated or no safetensors"), (0, "truncated")):
        weights.write_bytes(content[:keep])
        with pytest.raises(CheckpointError, match=words):
            load(copy)
    weights.write_bytes(b"\x02\0\0\0\0\0\0\0[]" + content)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load(copy)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load(copy)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"00001-of-00002\.safetensors is missing"):
        load(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["VITAMixtralForCausalLM"]}, "VITA-1.0"),
        ({"architectures": ["Qwen2ForCausalLM"]}, "plain Qwen2"),
        ({"architectures": None, "model_type": "bert"}, "bert"),
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"vocab_size": 10}, "different checkpoints"),
        ({"mm_audio_encoder": None}, "names no audio encoder"),
    ],
)
def test_other_models_are_told_apart(copy: Path, change: dict, words: str) -> None:
    config = {**json.loads((copy / "config.json").read_text()), **change}
    (copy / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(CheckpointError, match=words):
        load(copy)


def test_encoder_settings_are_looked_for_in_order(copy: Path, tmp_path: Path) -> None:
    def reasons(**options: object) -> list[str]:
        config = VitaConfig.from_pretrained(copy, **options)
        return [note.rsplit("(", 1)[1].rstrip(")") for note in config.settings_notes]

    assert reasons() == ["inside the checkpoint"] * 2
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(copy / "audio-encoder", elsewhere)
    assert reasons(audio_encoder=elsewhere)[1] == "given by --audio_encoder"
    with pytest.raises(InputError, match="--vision_tower"):
        reasons(vision_tower=elsewhere)
    shutil.move(copy / "audio-encoder", tmp_path / "audio-encoder")
    assert reasons()[1] == "beside the checkpoint"
    shutil.rmtree(tmp_path / "audio-encoder")
    assert reasons()[1] == "the released model's, shipped with vita-demo"
    with pytest.raises(CheckpointError, match="shipped with vita-demo"):
        load(copy)


def test_a_name_from_another_machine_is_found_by_its_last_part(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["mm_vision_tower"] = "/home/someone/models/InternViT-300M-448px"
    (copy / "config.json").write_text(json.dumps(config))
    assert "inside the checkpoint" in VitaConfig.from_pretrained(copy).settings_notes[0]
