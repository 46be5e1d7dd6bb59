"""Every format holds what it promises."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands.compare.fakes import make_comparison, make_run
from tests.conftest import ASSETS
from vita_demo.commands.compare.output import WRITERS, check_output, write
from vita_demo.commands.compare.plan import Plan
from vita_demo.commands.compare.record import ModeResult, stages_s
from vita_demo.errors import ComparisonError, InputError
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request


def test_json_and_csv_hold_every_run(tmp_path: Path, embedded_pipeline) -> None:
    options = GenerationOptions(max_new_tokens=5)
    request = Request(question="What is this?", image_paths=(ASSETS / "scene.png",))
    comparison = Plan(("blocking", "iterator"), runs=3).compare(embedded_pipeline, request, options)
    write(comparison, tmp_path / "x.json")
    report = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert report["schema_version"] == 1
    assert report["equal"]
    assert report["request"]["image_paths"] == [str(ASSETS / "scene.png")]
    assert report["options"]["max_new_tokens"] == 5
    assert report["host"]["threads"] > 0
    for mode in report["modes"]:
        assert [run["run"] for run in mode["runs"]] == [1, 2, 3]
        assert all(len(run["token_ids"]) == len(run["token_times_s"]) == 5 for run in mode["runs"])
        totals = [run["metrics"]["total_s"] for run in mode["runs"]]
        assert mode["summary"]["total_s"]["median"] == sorted(totals)[1]
    write(comparison, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [("blocking", "1"), ("blocking", "2"), ("blocking", "3"), ("iterator", "1")]
    assert [(row["mode"], row["run"]) for row in rows][:4] == names
    assert len(rows) == 6
    first = comparison.modes[0].runs[0].stats
    assert float(rows[0]["total_s"]) == first.total_s
    assert float(rows[0]["decode_s"]) == stages_s(first)["decode"]
    assert float(rows[0]["other_s"]) == stages_s(first)["other"]


def test_markdown_is_a_table(tmp_path: Path) -> None:
    write(make_comparison(blocking=(1.0, 2.0), iterator=(3.0, 3.0)), tmp_path / "x.md")
    lines = (tmp_path / "x.md").read_text(encoding="utf-8").splitlines()
    assert {line.count("|") for line in lines[:4]} == {9}
    assert "| 1.50 (1.00–2.00) |" in lines[2]
    assert "| 3.00 ×2.00 (3.00) |" in lines[3]
    assert "| – |" in lines[2]
    assert "All 4 runs in 2 modes gave the same 3 token ids and the same text." in lines


def test_a_single_token_is_written_in_every_format(tmp_path: Path) -> None:
    run = make_run(1.0, (5,), "a")
    run = replace(run, stats=replace(run.stats, tokens=1, token_gaps_s=[]))
    comparison = replace(make_comparison(blocking=(1.0,)), modes=(ModeResult("blocking", (run,)),))
    for suffix in WRITERS:
        write(comparison, tmp_path / f"x{suffix}")
        assert "blocking" in (tmp_path / f"x{suffix}").read_text(encoding="utf-8")


def test_checking_an_output_leaves_files_as_they_were(tmp_path: Path) -> None:
    check_output(tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.json").write_text("kept")
    check_output(tmp_path / "old.json")
    assert (tmp_path / "old.json").read_text() == "kept"


def test_outputs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.png has a suffix that names no format; give one of \.json, \.csv"):
        check_output(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\)"):
        check_output(tmp_path / "no" / "x.json")
    with pytest.raises(ComparisonError, match=r"cannot be written \(No such file or directory\)"):
        write(make_comparison(blocking=(1.0,)), tmp_path / "no" / "x.json")
