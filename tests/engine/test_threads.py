"""The threads that compute: as many as asked for, else no more than there are cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from vita_demo import cores
from vita_demo.cores import physical_cores, share_cores, sharing
from vita_demo.engine.threads import use_threads
from vita_demo.errors import InputError
from vita_demo.model.ops.cpu_profile import machine_is_busy
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
        monkeypatch.setattr(cores, "_CPUS", tmp_path)
        monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(hardware_threads)), raising=False)

    return make


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((8,), 4),
        ((8, "200000 100000"), 2),
        ((8, "150000 100000"), 2),
        ((8, "50000 100000"), 1),
        ((6, "max 100000", False), 6),
    ],
)
def test_cores_are_counted_without_their_second_threads_and_within_the_share(machine, arguments, count: int) -> None:
    machine(*arguments)
    assert physical_cores() == count


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


@pytest.mark.parametrize(
    ("running", "environment", "spins"),
    [
        ("1/200", {}, None),
        ("2/200", {}, "1000"),
        ("9/200", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("9/200", {"OMP_WAIT_POLICY": "active"}, None),
        ("", {}, None),
    ],
)
def test_threads_that_wait_sleep_where_others_want_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: str, environment: dict[str, str], spins: str | None
) -> None:
    (tmp_path / "loadavg").write_text(f"0.00 0.00 0.00 {running} 4711\n" if running else "")
    monkeypatch.setattr(cores, "_LOAD", tmp_path / "loadavg")
    monkeypatch.setattr(cores, "physical_cores", os.cpu_count)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(cores, "_sharing", [])
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    share_cores()
    assert environment.get("GOMP_SPINCOUNT") == spins
    assert bool(sharing()) is (spins == "1000")
    assert machine_is_busy() is bool(sharing()), "what is measured now is not kept"


def test_cores_that_the_threads_leave_free_are_no_reason_to_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loadavg").write_text("0.00 0.00 0.00 4/200 4711\n")
    monkeypatch.setattr(cores, "_LOAD", tmp_path / "loadavg")
    monkeypatch.setattr(cores, "physical_cores", lambda: 4)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(cores, "_sharing", [])
    for processors, spins in ((8, None), (6, "1000")):
        environment: dict[str, str] = {}
        monkeypatch.setattr(os, "environ", environment)
        monkeypatch.setattr(os, "cpu_count", lambda number=processors: number)
        share_cores()
        assert environment.get("GOMP_SPINCOUNT") == spins


def test_commands_share_the_cores_before_torch_is_there() -> None:
    code = (
        "import os, sys\nfrom vita_demo import cores\nfrom vita_demo.cli import main\n"
        "cores._others = lambda: 99\nsys.argv[1:] = ['--question', 'hi', '--max_new_tokens', '1', '--verbose']\nmain()"
    )
    environment = {name: value for name, value in os.environ.items() if name not in cores._WAITING}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert "sleep soon when they wait (GOMP_SPINCOUNT=1000)" in done.stderr
