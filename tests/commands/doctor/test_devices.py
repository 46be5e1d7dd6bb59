"""Devices are described, and what keeps a GPU from being used is reported."""

import warnings
from pathlib import Path

import pytest
import torch

from tests.commands.doctor.fakes import device
from vita_demo.commands.doctor import devices
from vita_demo.commands.doctor.finding import Finding


def check(monkeypatch: pytest.MonkeyPatch, *lines: str, driver: bool = False) -> list[Finding]:
    monkeypatch.setattr(devices, "find_devices", lambda: ((device(5e9),), lines))
    monkeypatch.setattr(devices.shutil, "which", lambda _: "/usr/bin/nvidia-smi" if driver else None)
    findings: list[Finding] = []
    assert devices.check_devices(findings) == (device(5e9),)
    return [finding for finding in findings if not finding.text.startswith("CPU profile: ")]


def test_a_driver_without_a_device_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    (cpu,) = check(monkeypatch)
    assert (cpu.level, cpu.text) == ("ok", "cpu: a device, 5.0 of 5.0 GB free")
    cpu, note = check(monkeypatch, driver=True)
    assert (note.level, note.text) == ("note", "torch sees no CUDA device, though a driver is installed")
    cpu, note = check(monkeypatch, "the driver is too old", driver=True)
    assert (note.level, note.text) == ("note", "the driver is too old")


def test_a_gpu_that_does_not_answer_and_warnings_of_torch_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(index: int) -> tuple[int, int]:
        if index:
            raise RuntimeError("CUDA error: busy\nsecond line")
        return 3, 4

    def available() -> bool:
        warnings.warn("the driver is old\nsecond line", stacklevel=2)
        return True

    monkeypatch.setattr(torch.cuda, "is_available", available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    found, lines = devices.find_devices()
    assert [item.name for item in found] == ["cpu", "cuda:0"]
    assert (found[1].free_bytes, found[1].total_bytes) == (3, 4)
    assert lines == ("cuda:1 does not answer: CUDA error: busy", "the driver is old")


def test_a_containers_limit_counts_without_its_page_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 300\nfile 600\n")
    cpu = devices.find_devices()[0][0]
    assert (cpu.total_bytes, cpu.free_bytes) == (1000, 700)
    (tmp_path / "memory.max").write_text("max\n")
    assert devices.find_devices()[0][0].total_bytes > 1000


def test_the_profile_of_the_cpu_is_shown(use_profile) -> None:
    use_profile(machine="this one", int8_by_numba=True, decodes_bfloat16=False)
    findings: list[Finding] = []
    devices.check_devices(findings)
    assert Finding("Devices", "ok", "CPU profile: this one: large models in float32, int8 GEMV by Numba") in findings
