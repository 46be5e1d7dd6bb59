"""The GPU program goes on when one part fails, keeps to its time, and leaves one line of JSON for each part."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

STUB = """#!/bin/sh
case "$*" in
    *pytest*) echo "3 passed" ;;
    *benchmarks.stages*) echo "no such kernel" >&2; exit 3 ;;
    *"--parts step"*) echo '{"figure": "a step"}' >>"$FIGURES"; echo "a step: 4 ms"; sleep 60 ;;
    *self_test*) echo "a word before"; echo '{"arguments": "'"$*"'"}' ;;
    *) echo '{"runs": 5}' ;;
esac
"""


@pytest.fixture
def program(tmp_path: Path):
    stub = tmp_path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [ROOT / "benchmarks" / "gpu.sh", *arguments]
        variables = {**os.environ, "PYTHON": str(stub), "OUT": str(tmp_path / "out"), **environment}
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    return run


def results(tmp_path: Path) -> dict[str, dict]:
    parts = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    return {part["part"]: part for part in parts}


FIRST = ("self_test", "lengths", "prefill", "tests", "step", "kernels", "quantized", "repeat", "decode-1k", "stages",
         "quantized-tests")  # fmt: skip
SECOND = ("callbacks", "decode-4k", "scaling", "together", "load", "startup")


def test_other_parts_go_on_when_one_fails(program, tmp_path: Path) -> None:
    parts = [name for name in FIRST if name != "step"]
    assert program("--shape", "tiny", "--device", "cpu", *parts).returncode == 1
    found = results(tmp_path)
    assert [*found] == parts
    assert {name: part["exit"] for name, part in found.items() if part["exit"]} == {"stages": 3}
    assert found["stages"]["result"] is None
    assert found["repeat"]["result"] == {"runs": 5}
    assert "--shape tiny --device cpu --dtype bfloat16" in found["self_test"]["result"]["arguments"]
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "3 passed" in log
    assert "no such kernel" in log
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["figures.jsonl", "log.txt", "results.jsonl"]


def test_a_part_that_is_cut_short_leaves_its_figures(program, tmp_path: Path) -> None:
    assert program("step", "repeat", BUDGET_S="6").returncode == 1
    parts = results(tmp_path)
    assert (parts["step"]["exit"], parts["step"]["result"]) == (124, None)
    assert "repeat" in parts
    assert json.loads((tmp_path / "out" / "figures.jsonl").read_text()) == {"figure": "a step"}
    assert "a step: 4 ms" in (tmp_path / "out" / "log.txt").read_text()


def test_the_limits_of_the_first_call_leave_time_for_every_part() -> None:
    text = (ROOT / "benchmarks" / "gpu.sh").read_text()
    limits = dict(re.findall(r"^    (?:part|measure|run_tests) (\S+) (\d+) ", text, re.MULTILINE))
    assert [*limits] == [*FIRST, *SECOND]
    assert sum(int(limits[name]) for name in FIRST) <= 525 < 9 * 60


def test_parts_that_are_named_run_alone(program, tmp_path: Path) -> None:
    assert program("--dtype", "float32", "startup", "decode-4k").returncode == 0
    assert [*results(tmp_path)] == ["decode-4k", "startup"]


def test_what_has_no_time_left_is_named(program, tmp_path: Path) -> None:
    assert program(BUDGET_S="3").returncode == 1
    assert {name: part["exit"] for name, part in results(tmp_path).items()} == dict.fromkeys(FIRST)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["--shape"], "--shape lacks"), (["--fast"], "--fast is unknown"), (["tests", "fast"], "fast is no part")],
)
def test_a_wrong_argument_is_refused(program, arguments: list[str], error: str) -> None:
    done = program(*arguments)
    assert done.returncode == 2
    assert error in done.stderr
