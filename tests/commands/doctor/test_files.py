"""Files that are missing, truncated or something else are named with their size."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.commands.doctor.fakes import diagnose_folder, problems, texts
from tests.conftest import Run

Vita = Callable[..., Run]


def test_truncated_weights_are_measured_and_everything_else_is_checked(copy: Path, vita: Vita) -> None:
    weights = copy / "model.safetensors"
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.truncate(size - 1000)
    run = vita("doctor", "--model_path", copy)
    assert run.code == 1
    assert f"model.safetensors is truncated: {size - 1000:,} of {size:,} bytes are there" in run.out
    assert f"model.safetensors --local-dir {copy} --force-download" in run.out
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
    assert diagnosis.memory.parameters == 5_575_200


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
