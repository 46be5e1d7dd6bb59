"""vita-demo batch, from the command line."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ASSETS, Run
from vita_demo.request import Request

pytestmark = pytest.mark.usefixtures("float32_on_the_cpu")
QUESTION = "How many shapes are there?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        (pictures / f"{number}.png").write_bytes((ASSETS / "scene.png").read_bytes())
    (pictures / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return pictures


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_folder_is_answered_as_each_picture_alone(vita: Callable[..., Run], folder: Path, embedded_pipeline) -> None:
    out = folder.parent / "out.jsonl"
    run = vita("batch", folder, "--question", QUESTION, "--output", out, "--max_new_tokens", 12)
    alone = embedded_pipeline.generate(Request(question=QUESTION, image_paths=ASSETS / "scene.png"))
    assert run.code == 0, run.err
    assert [row["text"] for row in rows(out)] == [alone.text] * 3 + [None] + [alone.text] * 2
    assert "3.png is damaged" in rows(out)[3]["error"]
    assert run.err.count("knows only simple shapes") == 1
    assert "slots of" in run.err
    assert "6 of 6 rows" in run.err
    assert "1 of 6 rows has an error; --retry_errors does them again" in run.err
    again = vita("batch", folder, "--question", QUESTION, "--output", out, "--fail_on_error")
    assert again.code == 1
    assert "out.jsonl has 6 rows already" in again.err
    assert again.error.startswith("1 of 6 rows has an error")


@pytest.mark.slow
def test_a_killed_batch_and_an_interrupted_one_go_on(folder: Path) -> None:
    out = folder.parent / "out.jsonl"
    command = [sys.executable, "-m", "vita_demo", "batch", folder, "--question", QUESTION, "--output", out, "--quiet",
               "--slots", "1", "--max_new_tokens", "40", "--min_new_tokens", "40"]  # fmt: skip
    for number, what in enumerate((signal.SIGKILL, signal.SIGINT)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        end_s = time.monotonic() + 100
        while not out.exists() or len(out.read_bytes().splitlines()) < number + 1:
            assert time.monotonic() < end_s
            time.sleep(0.01)
        process.send_signal(what)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 130 or len(rows(out)) == 6
    assert process.returncode != 130 or "the same command goes on from there" in err
    subprocess.run(command, check=True)
    assert [row["row"] for row in rows(out)] == [f"{number}.png" for number in range(6)]
    assert {row["text"] for row in rows(out) if not row["error"]} == {rows(out)[0]["text"]}


def test_flags_are_checked_before_a_model_is_loaded(vita: Callable[..., Run], tmp_path: Path) -> None:
    assert vita("batch", tmp_path).error == "Missing option '--output'."
    assert "does not exist; give a folder" in vita("batch", tmp_path / "x", "--output", tmp_path / "o.jsonl").error
    (tmp_path / "a.png").write_bytes(b"x")
    assert "names no format" in vita("batch", tmp_path, "--output", tmp_path / "o.txt").error
