"""The GPU program goes on when one part fails, keeps to its time, and leaves one line of JSON for each part."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

STUB = """#!/bin/sh
case "$*" in
    *pytest*) echo "3 passed" ;;
    *benchmarks.stages*) echo "no such kernel" >&2; exit 3 ;;
    *benchmarks.load*) echo "a word before"; echo '{"arguments": "'"$*"'"}' ;;
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


def test_other_parts_go_on_when_one_fails(program, tmp_path: Path) -> None:
    assert program("--shape", "tiny", "--device", "cpu").returncode == 1
    parts = results(tmp_path)
    assert [*parts] == [
        "tests",
        "decode-1k",
        "callbacks",
        "decode-4k",
        "stages",
        "scaling",
        "together",
        "load",
        "startup",
    ]
    assert {name: part["exit"] for name, part in parts.items() if part["exit"]} == {"stages": 3}
    assert parts["stages"]["result"] is None
    assert parts["scaling"]["result"] == {"runs": 5}
    assert "--shape tiny --device cpu --dtype bfloat16" in parts["load"]["result"]["arguments"]
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "3 passed" in log
    assert "no such kernel" in log
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["log.txt", "results.jsonl"]


def test_parts_that_are_named_run_alone(program, tmp_path: Path) -> None:
    assert program("--dtype", "float32", "startup", "decode-4k").returncode == 0
    assert [*results(tmp_path)] == ["decode-4k", "startup"]


def test_what_has_no_time_left_is_named(program, tmp_path: Path) -> None:
    assert program(BUDGET_S="3").returncode == 1
    assert {part["exit"] for part in results(tmp_path).values()} == {None}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["--shape"], "--shape lacks"), (["--fast"], "--fast is unknown"), (["tests", "fast"], "fast is no part")],
)
def test_a_wrong_argument_is_refused(program, arguments: list[str], error: str) -> None:
    done = program(*arguments)
    assert done.returncode == 2
    assert error in done.stderr
