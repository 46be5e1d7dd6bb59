"""The threads that compute: as many as asked for, else no more than there are cores."""

import os
from pathlib import Path

import pytest
import torch

from vita_demo.engine import threads
from vita_demo.engine.threads import physical_cores, use_threads
from vita_demo.errors import InputError
from vita_demo.pipeline import Pipeline


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a machine of hardware threads, in pairs on one core."""

    def make(hardware_threads: int, quota: str = "max 100000", siblings: bool = True) -> None:
        for cpu in range(hardware_threads if siblings else 0):
            folder = tmp_path / f"cpu{cpu}" / "topology"
            folder.mkdir(parents=True)
            (folder / "thread_siblings_list").write_text(f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n")
        (tmp_path / "cpu.max").write_text(quota + "\n")
        monkeypatch.setattr(threads, "_CPUS", tmp_path)
        monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(hardware_threads)), raising=False)

    return make


@pytest.mark.parametrize(
    ("arguments", "cores"),
    [
        ((8,), 4),
        ((8, "200000 100000"), 2),
        ((8, "150000 100000"), 2),
        ((8, "50000 100000"), 1),
        ((6, "max 100000", False), 6),
    ],
)
def test_cores_are_counted_without_their_second_threads_and_within_the_share(machine, arguments, cores: int) -> None:
    machine(*arguments)
    assert physical_cores() == cores


def test_systems_that_tell_nothing_give_all_processors(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert physical_cores() == 5


def test_a_number_is_taken_as_it_is_and_none_only_lowers(machine) -> None:
    machine(4)
    use_threads(3)
    assert torch.get_num_threads() == 3
    use_threads()
    assert torch.get_num_threads() == 2
    use_threads(1)
    use_threads()
    assert torch.get_num_threads() == 1


def test_no_thread_at_all_is_refused_in_one_line(vita) -> None:
    with pytest.raises(InputError, match=r"--threads 0 must be at least 1"):
        Pipeline.load(threads=0)
    assert vita("--question", "hi", "--threads", 0).error.startswith("--threads 0 must be at least 1")


def test_the_flag_and_the_preset_reach_torch(vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("vita_demo.pipeline.use_threads", asked.append)
    preset = tmp_path / "mine.toml"
    preset.write_text("threads = 3\n")
    request = ("--question", "hi", "--device", "cpu", "--max_new_tokens", 1)
    assert vita(*request, "--threads", 1).code == 0
    assert vita(*request, "--config", preset).code == 0
    assert vita(*request).code == 0
    assert asked == [1, 3, None]
