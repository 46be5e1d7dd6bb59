"""The comparison: every way gives the same answer, its statistics are right, and each file is well-formed."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ASSETS, Run
from vita_demo.comparison import modes as ways
from vita_demo.comparison.modes import MODES
from vita_demo.comparison.output import write
from vita_demo.comparison.record import Comparison, ModeResult, ModeRun
from vita_demo.comparison.run import compare, first_difference
from vita_demo.errors import ConfigError
from vita_demo.generation.options import GenerationOptions
from vita_demo.metrics import RunStats
from vita_demo.request import Request

Vita = Callable[..., Run]
SCENE = ("--image_path", ASSETS / "scene.png", "--question", "Describe this image.", "--max_new_tokens", 6)
PICTURE = Request(question="Describe this image.", image_paths=(ASSETS / "scene.png",))
VOICE = Request(audio_path=ASSETS / "question.wav")


@pytest.fixture(autouse=True)
def _float32_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITA_DEMO_DEVICE", "cpu")
    monkeypatch.setenv("VITA_DEMO_DTYPE", "float32")


def invented_run(total_s: float, token_ids: tuple[int, ...] = (5, 6, 7), text: str = "a b c") -> ModeRun:
    """A run of three tokens with even gaps: the first after half of the time, the last at the end."""
    stats = RunStats(
        stages={"load": 9.0, "media": 0.1 * total_s, "prefill": 0.4 * total_s, "decode": 0.5 * total_s},
        prompt_positions=10,
        tokens=3,
        ttft_s=0.5 * total_s,
        ttft_model_s=0.4 * total_s,
        ttft_text_s=None,
        total_s=total_s,
        token_gaps_s=[0.25 * total_s] * 2,
        peak_memory_bytes=1000,
    )
    return ModeRun(token_ids, text, stats)


def invented(**times_s: tuple[float, ...]) -> Comparison:
    """A comparison of modes with these total times."""
    return Comparison(
        request={"question": "What <b>is</b> this?", "image_paths": ["a&b.png"]},
        options={"do_sample": False, "seed": None},
        model={"path": "somewhere", "parameters": 10**6, "dtype": "float32", "device": "cpu"},
        host={"platform": "Linux", "processor": "x", "cores": 2, "threads": 2, "load_average": 0.0},
        versions={"vita-demo": "0"},
        modes=tuple(ModeResult(name, tuple(map(invented_run, times))) for name, times in times_s.items()),
    )


@pytest.mark.parametrize("request_", [PICTURE, VOICE], ids=["picture", "voice"])
@pytest.mark.parametrize("values", [{}, {"do_sample": True, "temperature": 1.2}], ids=["greedy", "drawn"])
def test_every_mode_gives_the_same_answer(request_: Request, values: dict, embedded_pipeline) -> None:
    options = GenerationOptions(max_new_tokens=8, **values)
    order: list[str] = []
    comparison = compare(embedded_pipeline, request_, options, runs=2, progress=order.append)
    assert order == [*MODES] * 3
    assert comparison.difference is None
    assert [(mode.name, len(mode.runs)) for mode in comparison.modes] == [(name, 2) for name in MODES]
    alone = embedded_pipeline.generate(request_, replace(options, seed=0))
    for mode in comparison.modes:
        for run in mode.runs:
            assert (run.token_ids, run.text) == (alone.token_ids, alone.text)
            assert len(run.token_times_s) == 8
            assert run.token_times_s[-1] <= run.stats.total_s


def test_statistics_follow_from_the_runs() -> None:
    comparison = invented(iterator=(4.0, 2.0), blocking=(1.0, 8.0, 2.0))
    iterator, blocking = comparison.modes
    assert comparison.baseline is blocking
    spread = comparison.spread(iterator, "total_s")
    assert (spread.median, spread.minimum, spread.maximum, spread.ratio) == (3.0, 2.0, 4.0, 1.5)
    assert comparison.spread(blocking, "total_s").ratio == 1.0
    assert comparison.spread(blocking, "tpot_s").median == 0.5
    assert comparison.spread(blocking, "decode_tps").median == 2.0
    assert comparison.spread(blocking, "ttft_text_s") is None
    assert blocking.typical_run.stats.total_s == 2.0
    assert blocking.typical_run.token_times_s == (1.0, 1.5, 2.0)
    assert sum(blocking.typical_run.stages_s.values()) == pytest.approx(2.0)


def test_the_first_mode_is_the_baseline_where_blocking_did_not_run() -> None:
    comparison = invented(streaming=(2.0,), iterator=(3.0,))
    assert comparison.spread(comparison.modes[1], "total_s").ratio == 1.5


def test_a_busy_machine_is_said() -> None:
    comparison = invented(blocking=(1.0,))
    assert comparison.disturbance == ""
    busy = replace(comparison, host={**comparison.host, "load_average": 1.5})
    assert "1.5 of 2 cores busy" in busy.disturbance


@pytest.mark.parametrize(
    ("token_ids", "text", "words"),
    [
        ((5, 9, 7), "a b c", "at step 1: id 9 in …'5 9 7' instead of id 6 in …'5 6 7'"),
        ((5, 6), "a b", "at step 2: no token in …'5 6' instead of id 7 in …'5 6 7'"),
        ((5, 6, 7), "a b", "the token ids agree but the text is …'a b' instead of …'a b c'"),
    ],
)
def test_a_difference_names_mode_run_and_step(token_ids: tuple[int, ...], text: str, words: str) -> None:
    comparison = invented(blocking=(1.0, 1.0), iterator=(1.0, 1.0))
    blocking, iterator = comparison.modes
    changed = replace(iterator, runs=(iterator.runs[0], invented_run(1.0, token_ids, text)))
    found = first_difference(replace(comparison, modes=(blocking, changed)), lambda ids: " ".join(map(str, ids)))
    assert found.describe().startswith("iterator differs from blocking in run 2")
    assert words in found.describe()


def test_a_difference_exits_1_after_the_table_and_the_files(
    vita: Vita, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def changed(*arguments: object) -> ModeRun:
        run = ways.iterator(*arguments)
        return replace(run, token_ids=(*run.token_ids[:3], 1, *run.token_ids[4:]))

    monkeypatch.setattr(ways, "MODES", {**MODES, "iterator": changed})
    monkeypatch.setattr("vita_demo.comparison.run.MODES", ways.MODES)
    report = tmp_path / "report.json"
    run = vita("compare", *SCENE, "--modes", "blocking,iterator", "--runs", 1, "--output", report)
    assert run.code == 1
    assert run.error.startswith("iterator differs from blocking in run 1 at step 3: id 1 in …")
    assert "✗ iterator differs" in run.out
    found = json.loads(report.read_text())
    assert not found["equal"]
    assert found["difference"]["step"] == 3


def test_the_table_goes_to_stdout_plainly(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, heads in ((80, "TTFT|TPOT|decode|total|peak memory"), (200, "TTFT, text|end to end|peak memory")):
        monkeypatch.setenv("COLUMNS", str(columns))
        run = vita("compare", *SCENE, "--modes", "blocking,streaming", "--runs", 1)
        assert run.code == 0
        assert "\x1b" not in run.out
        assert max(map(len, run.out.splitlines())) <= columns
        assert all(head in run.out for head in heads.split("|"))
        assert "✓ all 2 runs in 2 modes gave the same 6 token ids and the same text" in run.out.replace("\n", " ")


def test_drawing_without_a_seed_takes_one_and_says_so(vita: Vita) -> None:
    run = vita("compare", *SCENE, "--temperature", 1.3, "--modes", "blocking,callbacks", "--runs", 1)
    assert run.code == 0
    assert "draws with seed 0" in run.err
    assert "drawn with seed 0" in run.out


def test_json_and_csv_hold_every_run(tmp_path: Path, embedded_pipeline) -> None:
    options = GenerationOptions(max_new_tokens=5)
    comparison = compare(embedded_pipeline, PICTURE, options, modes=("blocking", "iterator"), runs=3)
    write(comparison, tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["schema_version"] == 1
    assert found["equal"]
    assert found["request"]["image_paths"] == [str(ASSETS / "scene.png")]
    assert found["options"]["max_new_tokens"] == 5
    assert found["host"]["threads"] > 0
    for mode in found["modes"]:
        assert [run["run"] for run in mode["runs"]] == [1, 2, 3]
        assert all(len(run["token_ids"]) == len(run["token_times_s"]) == 5 for run in mode["runs"])
        totals = [run["metrics"]["total_s"] for run in mode["runs"]]
        assert mode["summary"]["total_s"]["median"] == sorted(totals)[1]
    write(comparison, tmp_path / "x.csv")
    rows = list(csv.DictReader((tmp_path / "x.csv").open()))
    assert [(row["mode"], row["run"]) for row in rows] == [
        (m, str(n)) for m in ("blocking", "iterator") for n in (1, 2, 3)
    ]
    assert float(rows[0]["total_s"]) == found["modes"][0]["runs"][0]["metrics"]["total_s"]


def test_markdown_is_a_table(tmp_path: Path) -> None:
    write(invented(blocking=(1.0, 2.0), iterator=(3.0, 3.0)), tmp_path / "x.md")
    lines = (tmp_path / "x.md").read_text().splitlines()
    assert {line.count("|") for line in lines[:4]} == {9}
    assert "1.50 (1.00–2.00)" in lines[2]
    assert "3.00 ×2.00 (3.00)" in lines[3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--modes", "blocking,levitating"), "--modes 'levitating' is unknown; give some of blocking,"),
        (("--runs", 0), "--runs 0 must be at least 1"),
        (("--output", "report.docx"), "report.docx: its suffix says no known kind; give one of .json"),
        (("--output", "no/such/folder/x.json"), "cannot be written (No such file or directory)"),
        (("--num_beams", 2), "--num_beams 2 cannot be compared"),
        (("--time_limit_s", 2), "--time_limit_s 2 ends each run at another token"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(
    vita: Vita, monkeypatch: pytest.MonkeyPatch, arguments: tuple, words: str
) -> None:
    monkeypatch.setattr("vita_demo.pipeline.Pipeline.load", lambda *_, **__: pytest.fail("the model was loaded"))
    run = vita("compare", *SCENE, *arguments)
    assert run.code == 2
    assert words in run.error
    assert run.out == ""


def test_checking_an_output_leaves_nothing_behind(vita: Vita, tmp_path: Path) -> None:
    vita("compare", "--question", "?", "--output", tmp_path / "x.json", "--runs", 0)
    assert list(tmp_path.iterdir()) == []


def test_options_that_cannot_be_compared_are_refused(embedded_pipeline) -> None:
    with pytest.raises(ConfigError, match="num_beams 4"):
        compare(embedded_pipeline, PICTURE, GenerationOptions(num_beams=4))
