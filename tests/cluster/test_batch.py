"""A batch on a cluster gives the rows that it gives on one machine, whatever happens to the cluster."""

import base64
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ASSETS, Run
from tests.ray_cluster import MARKS, TwoNodes
from vita_demo.batch.batch import Batch
from vita_demo.batch.input import open_input
from vita_demo.batch.output import Output
from vita_demo.checkpoint.locate import NOTICE
from vita_demo.checkpoint.source import ModelSource
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Sampling

# Ray's own code warns of its own code.
pytestmark = MARKS
SOURCE = ModelSource(device="cpu", dtype="float32", threads=1)
FLAGS = ("--device", "cpu", "--dtype", "float32", "--threads", "1", "--slots", "2", "--max_new_tokens", "6")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Questions, some about a picture, with rows that fail before, in and after reading."""
    shutil.copy(ASSETS / "scene.png", tmp_path / "scene.png")
    (tmp_path / "broken.png").write_bytes((ASSETS / "scene.png").read_bytes()[:1000])
    rows = [{"question": f"What is {number}?"} for number in range(10)]
    rows[2] |= {"image_path": "scene.png"}
    rows[3] |= {"image_path": "broken.png"}
    rows[5] |= {"image_path": "missing.png"}
    rows[8] |= {"question": "long " * 40_000}
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("ttft_s", "total_s")} for row in rows]


@pytest.fixture
def expected(table: Path, embedded_pipeline) -> list[dict]:
    """The rows of one machine."""
    options = GenerationOptions.resolve(embedded_pipeline.settings.config.generation_defaults, max_new_tokens=6)
    batch = Batch(open_input(str(table), ""), "", Sampling(), options, slots=2)
    batch.run(embedded_pipeline, Output(table.with_name("expected.jsonl")), StopSignal())
    return rows_of(table.with_name("expected.jsonl"))


def test_rows_are_those_of_one_machine_and_the_terminal_is_the_commands_own(
    two_nodes: TwoNodes, table: Path, expected: list[dict], vita: Callable[..., Run]
) -> None:
    out = table.with_name("out.jsonl")
    run = vita("batch", table, "--output", out, *FLAGS, "--ray", two_nodes.address, "--workers", "1:2")
    assert run.code == 0, run.err
    assert rows_of(out) == expected
    assert [row["row"] for row in expected if row["error"]] == [3, 5, 8]
    said = [line for line in run.err.splitlines() if "rows" not in line]
    assert said == [NOTICE]


def test_files_of_object_stores_are_fetched_by_who_reads_them(
    two_nodes: TwoNodes, table: Path, embedded_pipeline, vita: Callable[..., Run]
) -> None:
    folder = table.parent.as_uri()
    picture = base64.b64encode(table.with_name("scene.png").read_bytes()).decode()
    paths = ["scene.png", f"{folder}/scene.png", f"data:image/png;base64,{picture}", "missing.png", "broken.png"]
    table.write_text("".join(json.dumps({"question": "What?", "image_path": path}) + "\n" for path in paths))
    here, there = table.with_name("here.jsonl"), table.with_name("there.jsonl")
    options = GenerationOptions.resolve(embedded_pipeline.settings.config.generation_defaults, max_new_tokens=6)
    batch = Batch(open_input(f"{folder}/in.jsonl", ""), "", Sampling(), options, slots=2)
    batch.run(embedded_pipeline, Output(here), StopSignal())
    run = vita("batch", f"{folder}/in.jsonl", "--output", there, *FLAGS, "--ray", two_nodes.address, "--workers", "1")
    assert run.code == 0, run.err
    assert rows_of(there) == rows_of(here)
    assert [row["image_path"] for row in rows_of(there)] == paths
    first, second, third, missing, broken = rows_of(there)
    assert first["text"] == second["text"] == third["text"] != ""
    assert missing["error"] == f"image_path {folder}/missing.png does not exist; check the URI"
    assert f"{folder}/broken.png is damaged" in broken["error"]


def test_a_killed_batch_goes_on(
    two_nodes: TwoNodes, table: Path, expected: list[dict], vita: Callable[..., Run]
) -> None:
    out = table.with_name("out.jsonl")
    flags = ["batch", table, "--output", out, *FLAGS, "--ray", two_nodes.address, "--workers", "1"]
    command = [sys.executable, "-m", "vita_demo", *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (out.exists() and out.read_bytes().count(b"\n") >= 2):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    begun = out.read_bytes()
    run = vita(*flags)
    assert run.code == 0, run.err
    assert rows_of(out) == expected
    assert out.read_bytes().startswith(begun[: begun.rfind(b"\n") + 1])


def test_a_node_that_dies_costs_no_row(two_nodes: TwoNodes, table: Path, expected: list[dict]) -> None:
    from vita_demo.cluster.answers import ClusterAnswers
    from vita_demo.cluster.pool import Pool, Share

    settings = SOURCE.read()
    options = GenerationOptions.resolve(settings.config.generation_defaults, max_new_tokens=6)
    answers = ClusterAnswers(SOURCE, settings.config, Pool(2, 2), Share(0, 1))
    batch = Batch(open_input(str(table), ""), "", Sampling(), options, slots=2)
    killed = []

    def kill(_: object) -> None:
        if not killed:
            killed.append(True)
            two_nodes.kill_other()

    try:
        batch.run(answers, Output(table.with_name("out.jsonl")), StopSignal(), kill)
    finally:
        two_nodes.bring_back()
    assert killed
    assert rows_of(table.with_name("out.jsonl")) == expected
