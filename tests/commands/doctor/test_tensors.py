"""Every tensor that is missing, unexpected or of another shape is listed."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.commands.doctor.fakes import diagnose_folder, problems
from tests.conftest import Run


def test_every_mismatched_tensor_is_listed(copy: Path, vita: Callable[..., Run]) -> None:
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
