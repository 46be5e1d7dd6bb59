"""The checkpoint is found, and what it lacks can be fetched by the command that is shown."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.conftest import ROOT, Run
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor import folder as folder_check
from vita_demo.commands.doctor.diagnosis import diagnose
from vita_demo.commands.doctor.folder import fetch_command

Vita = Callable[..., Run]


def test_the_embedded_model_is_restored_and_never_deleted(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_check, "locate_folder", lambda *_, **__: copy)
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
    ("model_path", "file", "again", "command"),
    [
        ("models/x", "", False, "hf download VITA-MLLM/VITA-1.5 --local-dir folder"),
        ("models/x", "a.json", True, "hf download VITA-MLLM/VITA-1.5 a.json --local-dir folder --force-download"),
        ("owner/name", "a.json", False, "hf download owner/name a.json"),
    ],
)
def test_the_command_fetches_into_the_place_that_is_used(
    model_path: str, file: str, again: bool, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert fetch_command(ModelSource(model_path), Path("folder"), file, again) == command


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
