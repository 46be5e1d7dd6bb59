"""What a checkpoint lacks or holds wrongly is named, with the command that mends it; the other checks go on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from tests.commands.doctor.fakes import diagnose_folder, problems, texts
from tests.conftest import ROOT, Run
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor import checkpoint
from vita_demo.commands.doctor.diagnosis import diagnose
from vita_demo.resources import resource

Vita = Callable[..., Run]
A = "hf download VITA-MLLM/VITA-1.5 a --local-dir folder"


def test_the_embedded_model_is_restored_and_never_deleted(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "locate_folder", lambda *_, **__: copy)
    (copy / "merges.txt").unlink()
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    diagnosis = diagnose(ModelSource(), debug=True)
    fixes = {
        finding.text.partition(":")[0]: finding.fix for finding in diagnosis.findings if finding.level == "problem"
    }
    assert set(fixes) == {"merges.txt is missing", "model.safetensors is truncated"}
    for fix in fixes.values():
        assert "git restore assets/vita-tiny" in fix
        assert "pip install --force-reinstall" in fix
        assert "delete" not in fix
    assert (ROOT / "assets" / "vita-tiny" / "merges.txt").is_file()


@pytest.mark.parametrize(
    ("model_path", "width", "file", "again", "fix"),
    [
        ("models/x", 3584, "", False, "hf download VITA-MLLM/VITA-1.5 --local-dir folder"),
        ("models/x", 3584, "a.json", True, "hf download VITA-MLLM/VITA-1.5 a.json --local-dir folder --force-download"),
        ("owner/name", None, "a.json", False, "hf download owner/name a.json"),
        ("models/x", 128, "a.json", True, "take a.json from where this checkpoint came from"),
        ("models/x", 128, "", False, "take its files from where this checkpoint came from"),
        (
            "models/x",
            None,
            "a",
            False,
            "take a from where this checkpoint came from, or, if it is the released one: " + A,
        ),
    ],
)
def test_what_to_do_is_a_command_where_the_source_is_known(
    model_path: str,
    width: int | None,
    file: str,
    again: bool,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("models", "folder"):
        (tmp_path / name).mkdir()
    if width is not None:
        settings = json.loads((ROOT / "configs" / "vita15" / "config.json").read_text())
        (tmp_path / "folder" / "config.json").write_text(json.dumps({**settings, "hidden_size": width}))
    assert checkpoint.fetch_command(ModelSource(model_path), Path("folder"), file, again) == fix


def test_a_hub_id_is_looked_for_in_the_cache_only(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vita: Vita
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    run = vita("doctor", "--model_path", "VITA-MLLM/VITA-1.5")
    assert run.code == 1
    assert "hf download VITA-MLLM/VITA-1.5" in run.out
    assert "8,322,947,232 values" in run.out
    repository = tmp_path / "hub" / "models--owner--half"
    shutil.copytree(copy, repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    assert vita("doctor", "--model_path", "owner/half").code == 0
    (repository / "snapshots" / "0123" / "model.safetensors").unlink()
    run = vita("doctor", "--model_path", "owner/half")
    assert run.code == 1
    assert "→ hf download owner/half\n" in run.out


def test_truncated_weights_are_measured_and_everything_else_is_checked(copy: Path, vita: Vita) -> None:
    weights = copy / "model.safetensors"
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.truncate(size - 1000)
    run = vita("doctor", "--model_path", copy)
    assert run.code == 1
    assert f"model.safetensors is truncated: {size - 1000:,} of {size:,} bytes are there" in run.out
    assert "take model.safetensors from where this checkpoint came from" in run.out
    assert "235 tensors have the expected names and shapes" in run.out
    assert "pictures: 640 × 480" in run.out
    assert "The model cannot run as it is" in run.out


def test_missing_shards_are_named_and_their_tensors_not_called_missing(sharded: Path) -> None:
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    missing, truncated = files[0], files[1]
    missing_bytes = sum(tensor.nbytes for tensor in load_file(sharded / missing).values())
    (sharded / missing).unlink()
    (sharded / truncated).write_bytes((sharded / truncated).read_bytes()[:-7])
    diagnosis = diagnose_folder(sharded)
    first, second = problems(diagnosis)
    assert first == f"{missing} is missing"
    assert second.startswith(f"{truncated} is truncated")
    assert f"{missing}: {missing_bytes:,} bytes of tensors, by the index" in texts(diagnosis, "Checkpoint")
    count = sum(file == missing for file in index["weight_map"].values())
    assert f"{count:,} tensors lie in weight files that cannot be read" in texts(diagnosis, "Tensors")
    assert diagnosis.memory is not None
    assert diagnosis.memory.parameters == 5_523_488


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated or no safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b'\x03\0\0\0\0\0\0\0"x"', "no safetensors file"),
        (b"\x1e\0\0\0\0\0\0\0" + b'{"a": {"dtype": "F32"}}       ', "no safetensors file"),
    ],
)
def test_weights_that_are_something_else_are_one_problem(copy: Path, content: bytes, words: str) -> None:
    (copy / "model.safetensors").write_bytes(content)
    diagnosis = diagnose_folder(copy)
    (problem,) = problems(diagnosis)
    assert words in problem
    assert "no tensor was compared" in texts(diagnosis, "Tensors")
    assert diagnosis.memory is not None


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_of_nothing_is_one_problem(copy: Path, content: str) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text(content)
    (problem,) = problems(diagnose_folder(copy))
    assert "index" in problem


def test_missing_small_files_are_each_named_once(copy: Path, vita: Vita) -> None:
    for name in ("config.json", "merges.txt"):
        (copy / name).unlink()
    run = vita("doctor", "--model_path", copy)
    assert run.code == 1
    assert run.out.count("config.json is missing") == run.out.count("merges.txt is missing") == 1
    assert f"hf download VITA-MLLM/VITA-1.5 merges.txt --local-dir {copy}" in run.out
    assert "model.safetensors: 235 tensors" in run.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "describes Qwen2ForCausalLM, a plain Qwen2"),
        ({"hidden_size": "wide"}, "define no valid model"),
        ({"num_attention_heads": 0}, "define no valid model"),
        ({"mm_vision_tower": 5}, "define no valid model"),
        ({"hidden_act": "gelu"}, "sets hidden_act to 'gelu'"),
    ],
)
def test_unusable_settings_are_one_problem_and_files_are_still_checked(copy: Path, change: dict, words: str) -> None:
    path = copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    diagnosis = diagnose_folder(copy)
    (problem,) = problems(diagnosis)
    assert words in problem
    assert "235 tensors in" in texts(diagnosis, "Checkpoint")
    assert "1,297 tokens" in texts(diagnosis, "Settings")


def test_given_encoder_settings_are_used_and_their_mismatch_is_a_problem(copy: Path) -> None:
    vision = resource("configs", "vita15", "InternViT-300M-448px")
    diagnosis = diagnose_folder(copy, vision_tower=vision)
    assert f"vision settings: {vision} (given by --vision_tower)" in texts(diagnosis, "Settings")
    shapes = [
        finding
        for finding in diagnosis.findings
        if "model.vision_tower" in finding.text and "has shape" in finding.text
    ]
    assert shapes
    assert all("--vision_tower" in str(finding.fix) for finding in shapes)


def test_a_tokenizer_of_another_model_is_a_problem(copy: Path) -> None:
    path = copy / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["added_tokens_decoder"]["1297"] = {"content": "<more>", "special": True}
    path.write_text(json.dumps(config))
    assert any("different checkpoints" in text for text in problems(diagnose_folder(copy)))
    (copy / "vocab.json").write_text("{")
    assert any("the tokenizer in" in text for text in problems(diagnose_folder(copy)))


def test_every_mismatched_tensor_is_listed(copy: Path, vita: Vita) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["model.norm.weight"] = torch.zeros(5)
    tensors["extra"] = torch.zeros(1)
    del tensors["lm_head.weight"]
    tensors |= {f"surplus.{number}": torch.zeros(1) for number in range(20)}
    save_file(tensors, copy / "model.safetensors")
    lines = problems(diagnose_folder(copy))
    assert len(lines) == 23
    assert {"lm_head.weight is missing", "extra is unexpected", "surplus.19 is unexpected"} <= set(lines)
    assert "model.norm.weight has shape [5] instead of [192]" in lines
    run = vita("doctor", "--model_path", copy)
    assert "15 more problems; --json lists them all" in run.out
