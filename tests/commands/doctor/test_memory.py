"""Memory is counted by the settings, and the finding says where the model fits."""

import pytest
import torch

from tests.commands.doctor.fakes import device
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.doctor.checkpoint import Weights, count_parameters
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.memory import MemoryTable, check_fit, check_memory
from vita_demo.resources import resource

PARAMETERS = 8_322_947_232


@pytest.fixture(scope="module")
def released() -> VitaConfig:
    return VitaConfig.from_pretrained(resource("configs", "vita15"))


def test_memory_of_the_released_model_is_counted_by_its_settings(released: VitaConfig) -> None:
    table = MemoryTable.of(count_parameters(released), released, (device(20e9),))
    half = table.need("bfloat16")
    assert half.cache_bytes_per_1000 == 2 * 28 * 4 * 128 * 2 * 1000
    assert half.weights_bytes == 2 * PARAMETERS
    assert half.total_bytes == half.weights_bytes + 6.2 * half.cache_bytes_per_1000 + half.working_bytes
    assert table.positions == 6200


def test_without_weight_files_the_settings_are_counted(released: VitaConfig) -> None:
    findings: list[Finding] = []
    table = check_memory(findings, released, Weights(), (device(1e12),))
    assert table.parameters == PARAMETERS
    assert findings[0].text == "8,322,947,232 values, counted in the settings, as weight files are missing or damaged"
    assert findings[1] == check_fit(table, "bfloat16")


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
def test_too_little_memory_has_a_fix(
    monkeypatch: pytest.MonkeyPatch, use_profile, released: VitaConfig, free_bytes: float, level: str, fix: str | None
) -> None:
    # A machine with much memory that is no faster in 16 bits takes float32, even when other programs hold most of it.
    monkeypatch.setattr("vita_demo.engine.device.physical_memory_bytes", lambda: 100_000_000_000)
    use_profile(decodes_bfloat16=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    finding = check_fit(MemoryTable.of(PARAMETERS, released, (device(free_bytes),)), "bfloat16")
    assert (finding.level, finding.fix) == (level, fix)
