"""All checks run, whatever one of them meets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor import devices, software
from vita_demo.commands.doctor.diagnosis import diagnose
from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import CheckpointError

Vita = Callable[..., Run]


def test_the_embedded_model_can_run(vita: Vita) -> None:
    run = vita("doctor")
    assert run.code == 0
    assert run.err == ""
    assert "The model can run here" in run.out
    for words in ("torch 2", "cpu: ", "model.safetensors: 235 tensors", "vision settings: ", "235 tensors have the",
                  "5 of 54 frames", "MP3 sound written and read", "bfloat16"):  # fmt: skip
        assert words in run.out
    assert "\x1b" not in run.out


def test_json_has_every_finding(vita: Vita) -> None:
    report = vita("doctor", "--json").json
    assert list(report) == ["schema_version", "can_run", "findings", "memory"]
    assert report["can_run"] is True
    assert {finding["group"] for finding in report["findings"]} == {
        "Software", "Devices", "Checkpoint", "Settings", "Tensors", "Memory", "Media",
    }  # fmt: skip
    assert all(list(finding) == ["group", "level", "text", "fix"] for finding in report["findings"])
    needs = {need["dtype"]: need for need in report["memory"]["needs"]}
    assert needs["float32"]["weights_bytes"] == 2 * needs["float16"]["weights_bytes"] == 4 * 5_523_488
    assert report["memory"]["devices"][0]["name"] == "cpu"
    assert needs["float32"]["fits"]["cpu"] is True


def test_an_unexpected_error_is_a_finding(monkeypatch: pytest.MonkeyPatch, vita: Vita) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("nothing there")

    monkeypatch.setattr(devices, "find_devices", fail)
    run = vita("doctor")
    assert run.code == 1
    assert "this check failed: ZeroDivisionError: nothing there" in run.out
    assert "pictures: 640 × 480" in run.out
    with pytest.raises(ZeroDivisionError):
        diagnose(ModelSource(), debug=True)


@pytest.mark.parametrize(
    ("message", "text", "fix"),
    [("x is cut (a; b); download it again", "x is cut (a; b)", "download it again"), ("x is\ncut", "x is cut", None)],
)
def test_an_error_is_split_into_what_is_wrong_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, message: str, text: str, fix: str | None
) -> None:
    def fail(*_: object) -> None:
        raise CheckpointError(message)

    monkeypatch.setattr(software, "check_software", fail)
    assert Finding("Software", "problem", text, fix) in diagnose(ModelSource(), debug=True).findings


def test_an_empty_folder_and_a_wrong_path_are_problems(tmp_path: Path, vita: Vita) -> None:
    run = vita("doctor", "--model_path", tmp_path, "--json")
    assert run.code == 1
    assert [finding["text"] for finding in run.json["findings"] if finding["level"] == "problem"] == [
        "config.json is missing",
        "vocab.json is missing",
        "merges.txt is missing",
        "tokenizer_config.json is missing",
        "neither model.safetensors nor model.safetensors.index.json is there",
    ]
    run = vita("doctor", "--model_path", tmp_path / "gone")
    assert run.code == 1
    assert "does not exist" in run.out
