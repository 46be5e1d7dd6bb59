"""The preflight finds what is wrong with a checkpoint and a machine, checks on, and never breaks off."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from packaging.requirements import Requirement
from safetensors.torch import load_file, save_file

from tests.conftest import Run
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.doctor import diagnosis, media
from vita_demo.commands.doctor.devices import Device
from vita_demo.commands.doctor.diagnosis import Diagnosis, diagnose
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.memory import MemoryTable, check_memory, count_parameters
from vita_demo.commands.doctor.software import check_package
from vita_demo.commands.doctor.source import Source
from vita_demo.commands.doctor.view import show_diagnosis
from vita_demo.errors import CheckpointError
from vita_demo.model.loading.checkpoint import save_checkpoint
from vita_demo.pipeline import Pipeline
from vita_demo.resources import resource

Vita = Callable[..., Run]


@pytest.fixture
def copy(embedded_pipeline: Pipeline, tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that a test may damage."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(embedded_pipeline.settings.folder, folder)
    return folder


@pytest.fixture
def sharded(copy: Path, embedded_pipeline: Pipeline) -> Path:
    """The same in shards."""
    (copy / "model.safetensors").unlink()
    save_checkpoint(embedded_pipeline.model, copy, shard_bytes=4_000_000)
    return copy


def look(folder: Path, **options: Path) -> Diagnosis:
    return diagnose(Source(str(folder), **options), debug=True)


def problems(found: Diagnosis) -> list[str]:
    return [finding.text for finding in found.findings if finding.level == "problem"]


def texts(found: Diagnosis, group: str) -> str:
    return "\n".join(finding.text for finding in found.findings if finding.group == group)


def test_the_embedded_model_can_run(vita: Vita) -> None:
    run = vita("doctor")
    assert run.code == 0
    assert run.err == ""
    assert "The model can run here" in run.out
    for words in ("torch 2", "cpu: ", "model.safetensors: 235 tensors", "vision settings: ", "235 tensors have the",
                  "5 of 60 frames", "MP3 sound written and read", "bfloat16"):  # fmt: skip
        assert words in run.out
    assert "\x1b" not in run.out


def test_json_has_every_finding(vita: Vita) -> None:
    found = vita("doctor", "--json").json
    assert list(found) == ["schema_version", "can_run", "findings", "memory"]
    assert found["can_run"] is True
    assert {finding["group"] for finding in found["findings"]} == {
        "Software", "Devices", "Checkpoint", "Settings", "Tensors", "Memory", "Media",
    }  # fmt: skip
    assert all(list(finding) == ["group", "level", "text", "fix"] for finding in found["findings"])
    needs = {need["dtype"]: need for need in found["memory"]["needs"]}
    assert needs["float32"]["weights_bytes"] == 2 * needs["float16"]["weights_bytes"] == 4 * 5_575_200
    assert found["memory"]["devices"][0]["name"] == "cpu"
    assert needs["float32"]["fits"]["cpu"] is True


def test_weights_cut_short_are_measured_and_all_else_is_checked(copy: Path, vita: Vita) -> None:
    weights = copy / "model.safetensors"
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.truncate(size - 1000)
    run = vita("doctor", "--model_path", copy)
    assert run.code == 1
    assert f"model.safetensors is cut short: {size - 1000:,} of {size:,} bytes are there" in run.out
    assert f"model.safetensors --local-dir {copy} --force-download" in run.out
    assert "235 tensors have the expected names and shapes" in run.out
    assert "pictures: 640 × 480" in run.out
    assert "The model cannot run as it is" in run.out


def test_missing_shards_are_named_and_their_tensors_not_called_missing(sharded: Path) -> None:
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    gone, cut = files[0], files[1]
    gone_bytes = sum(tensor.nbytes for tensor in load_file(sharded / gone).values())
    (sharded / gone).unlink()
    (sharded / cut).write_bytes((sharded / cut).read_bytes()[:-7])
    found = look(sharded)
    assert len(problems(found)) == 2
    assert problems(found)[0] == f"{gone} is missing"
    assert problems(found)[1].startswith(f"{cut} is cut short")
    assert f"{gone}: {gone_bytes:,} bytes of tensors, by the index" in texts(found, "Checkpoint")
    count = sum(file == gone for file in index["weight_map"].values())
    assert f"{count:,} tensors lie in weight files that cannot be read" in texts(found, "Tensors")
    assert found.memory is not None
    assert found.memory.parameters == 5_575_200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated or no safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b'\x03\0\0\0\0\0\0\0"x"', "no safetensors file"),
        (b"\x1e\0\0\0\0\0\0\0" + b'{"a": {"dtype": "F32"}}       ', "no safetensors file"),
    ],
)
def test_weights_that_are_something_else_are_told(copy: Path, content: bytes, words: str) -> None:
    (copy / "model.safetensors").write_bytes(content)
    found = look(copy)
    assert [words in text for text in problems(found)] == [True]
    assert "no tensor was compared" in texts(found, "Tensors")
    assert found.memory is not None


def test_an_index_of_nothing_is_told(copy: Path) -> None:
    for content in ("{", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'):
        (copy / "model.safetensors.index.json").write_text(content)
        assert [("index" in text) for text in problems(look(copy))] == [True]


def test_every_misfit_tensor_is_listed(copy: Path, vita: Vita) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["model.norm.weight"] = torch.zeros(5)
    tensors["extra"] = torch.zeros(1)
    del tensors["lm_head.weight"]
    tensors |= {f"surplus.{number}": torch.zeros(1) for number in range(20)}
    save_file(tensors, copy / "model.safetensors")
    found = problems(look(copy))
    assert len(found) == 23
    assert {"lm_head.weight is missing", "extra is unexpected", "surplus.19 is unexpected"} <= set(found)
    assert "model.norm.weight has shape [5] instead of [192]" in found
    run = vita("doctor", "--model_path", copy)
    assert "15 more problems; --json lists them all" in run.out


def test_other_encoder_settings_are_used_and_their_misfit_is_told(copy: Path) -> None:
    vision = resource("configs", "vita15", "InternViT-300M-448px")
    found = look(copy, vision_tower=vision)
    assert f"vision settings: {vision} (given by --vision_tower)" in texts(found, "Settings")
    misfits = [finding for finding in found.findings if "model.vision_tower" in finding.text]
    assert any("has shape" in finding.text for finding in misfits)
    assert all("--vision_tower" in str(finding.fix) for finding in misfits if "shape" in finding.text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "a plain Qwen2 without eyes and ears"),
        ({"hidden_size": "wide"}, "make no model"),
        ({"num_attention_heads": 0}, "make no model"),
        ({"mm_vision_tower": 5}, "make no model"),
        ({"hidden_act": "gelu"}, "sets hidden_act to 'gelu'"),
    ],
)
def test_another_model_or_odd_settings_are_told_and_files_still_checked(copy: Path, change: dict, words: str) -> None:
    path = copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    found = look(copy)
    assert [words in text for text in problems(found)] == [True]
    assert "235 tensors in" in texts(found, "Checkpoint")
    assert "1,297 tokens" in texts(found, "Settings")


def test_missing_small_files_are_each_named_once(copy: Path, vita: Vita) -> None:
    for name in ("config.json", "merges.txt"):
        (copy / name).unlink()
    run = vita("doctor", "--model_path", copy)
    assert run.code == 1
    assert run.out.count("config.json is missing") == run.out.count("merges.txt is missing") == 1
    assert f"hf download VITA-MLLM/VITA-1.5 merges.txt --local-dir {copy}" in run.out
    assert "model.safetensors: 235 tensors" in run.out


def test_a_tokenizer_of_another_model_is_told(copy: Path) -> None:
    vocab = json.loads((copy / "vocab.json").read_text())
    (copy / "vocab.json").write_text(json.dumps({**vocab, **{f"more{i}": 1000 + i for i in range(40)}}))
    (copy / "tokenizer_config.json").write_text("{}")
    assert any("different checkpoints" in text for text in problems(look(copy)))
    (copy / "vocab.json").write_text("{")
    assert any("the tokenizer in" in text for text in problems(look(copy)))


def test_an_empty_folder_and_a_wrong_path_are_told(tmp_path: Path, vita: Vita) -> None:
    run = vita("doctor", "--model_path", tmp_path, "--json")
    assert run.code == 1
    assert sum(finding["level"] == "problem" for finding in run.json["findings"]) == 5
    run = vita("doctor", "--model_path", tmp_path / "gone")
    assert run.code == 1
    assert "does not exist" in run.out


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


def device(free_bytes: float, name: str = "cpu") -> Device:
    return Device(name, "a device", int(free_bytes), int(free_bytes))


def test_memory_of_the_released_model_is_counted_by_its_settings() -> None:
    config = VitaConfig.from_pretrained(resource("configs", "vita15"))
    table = MemoryTable.of(count_parameters(config), config, (device(20e9),))
    half = table.need("bfloat16")
    assert half.cache_bytes_per_1000 == 2 * 28 * 4 * 128 * 2 * 1000
    assert half.weights_bytes == pytest.approx(16.6e9, rel=0.01)
    assert half.total_bytes == half.weights_bytes + 6.2 * half.cache_bytes_per_1000 + half.working_bytes
    assert table.positions == 6200


@pytest.mark.parametrize(
    ("free_bytes", "level", "fix"),
    [
        (100e9, "ok", None),
        (20e9, "note", "give --device cpu --dtype bfloat16"),
        (12e9, "note", "give --device cpu --quantize int8"),
        (8e9, "note", "give --device cpu --quantize int4"),
        (7e9, "problem", "end other programs, or take a machine with more memory"),
    ],
)
def test_memory_that_does_not_do_is_told(
    monkeypatch: pytest.MonkeyPatch, use_profile, free_bytes: float, level: str, fix: str | None
) -> None:
    # A machine with much memory that is no faster in 16 bits takes float32, even when other programs hold most of it.
    monkeypatch.setattr("vita_demo.engine.device.physical_memory_bytes", lambda: 100_000_000_000)
    use_profile(decodes_bfloat16=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = VitaConfig.from_pretrained(resource("configs", "vita15"))
    table = MemoryTable.of(8_322_947_232, config, (device(free_bytes),))
    *_, verdict = check_memory(table, "bfloat16", "a test")
    assert verdict.level == level
    assert verdict.fix == fix


def test_packages_are_compared_with_what_is_required() -> None:
    assert check_package(Requirement("numpy>=1")).level == "ok"
    assert "does not satisfy numpy>=99" in check_package(Requirement("numpy>=99")).text
    assert check_package(Requirement("no-such-package-here")).level == "problem"


def test_media_that_fail_are_problems_and_formats_are_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    def fail() -> str:
        raise OSError("libav.so is missing")

    monkeypatch.setattr(media, "_read_video", fail)
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"FLAC": "", "OGG": ""})
    levels = {finding.text: finding.level for finding in media.check_media()}
    assert levels["videos cannot be read: libav.so is missing"] == "problem"
    assert levels["MP3 sound is not in this libsndfile"] == "note"
    assert levels["FLAC sound written and read"] == "ok"


def test_a_check_that_breaks_off_is_a_finding(monkeypatch: pytest.MonkeyPatch, vita: Vita) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("nothing there")

    monkeypatch.setattr(diagnosis, "find_devices", fail)
    run = vita("doctor")
    assert run.code == 1
    assert "this check broke off: ZeroDivisionError: nothing there" in run.out
    assert "pictures: 640 × 480" in run.out
    with pytest.raises(ZeroDivisionError):
        diagnose(Source(), debug=True)


def test_an_error_is_split_into_what_is_wrong_and_what_to_do() -> None:
    error = CheckpointError("x is cut (a; b); download it again")
    assert Finding.from_error("g", error) == Finding("g", "problem", "x is cut (a; b)", "download it again")
    assert Finding.from_error("g", CheckpointError("x is cut")) == Finding("g", "problem", "x is cut")


@pytest.mark.parametrize("width", [80, 200])
def test_lines_fit_a_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console as RichConsole
    from rich.text import Text

    found = diagnose(Source())
    console = RichConsole(width=width, force_terminal=True, highlight=False, soft_wrap=True)
    show_diagnosis(found, console)
    lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
    # A path that has no place to break may stick out.
    assert all(len(line) <= width or "/" in line for line in lines)
    assert any("✓ torch" in line for line in lines)
