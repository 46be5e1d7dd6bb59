"""The comparison: every way gives the same answer, its statistics are right, and each file is well-formed."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from tests.conftest import ASSETS, Run
from vita_demo.commands.compare import modes as ways
from vita_demo.commands.compare.modes import MODES
from vita_demo.commands.compare.output import write
from vita_demo.commands.compare.record import Comparison, Difference, ModeResult, ModeRun
from vita_demo.commands.compare.run import compare, first_difference
from vita_demo.commands.compare.svg import Scale
from vita_demo.errors import ConfigError
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
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
        request={
            "question": "What <b>is</b> this?",
            "image_paths": ["folder/a&b.png"],
            "video_path": None,
            "audio_path": None,
        },
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


@pytest.mark.parametrize("name", MODES)
def test_a_signal_ends_every_mode_early(name: str, embedded_pipeline) -> None:
    signal = StopSignal()
    signal.request("cancelled")
    run = MODES[name](embedded_pipeline, PICTURE, GenerationOptions(max_new_tokens=400), signal)
    assert 1 <= len(run.token_ids) < 400


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
    monkeypatch.setattr("vita_demo.commands.compare.run.MODES", ways.MODES)
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


def test_missing_matplotlib_is_one_line(vita: Vita, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    run = vita("compare", *SCENE, "--output", tmp_path / "x.png")
    assert "pip install 'vita-demo[charts]'" in run.error


class Page(HTMLParser):
    """Notes what a page refers to, what it draws and says, and whether its elements are closed in order."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_html_is_one_page_with_three_charts_and_no_other_file(tmp_path: Path) -> None:
    comparison = invented(blocking=(1.0, 2.0), iterator=(3.0, 4.0))
    write(comparison, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.references == []
    assert not any(word in text for word in ("http://", "https://", "@import", "url(", "<script"))
    assert page.tags.count("svg") == 3
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "What <b>is</b> this?" in page.words
    assert "a&b.png" in page.words
    assert "all 4 runs in 2 modes gave the same 3 token ids" in page.words
    assert page.tags.count("polyline") == 2


def test_html_says_that_answers_differ(tmp_path: Path) -> None:
    difference = Difference("iterator", 2, "blocking", 7, 1, 2, "<i>ours", "theirs")
    write(replace(invented(blocking=(1.0,), iterator=(1.0,)), difference=difference), tmp_path / "x.html")
    assert "✗ iterator differs from blocking in run 2 at step 7" in Page((tmp_path / "x.html").read_text()).words


def test_a_single_token_still_makes_a_page(tmp_path: Path) -> None:
    run = invented_run(1.0, (5,), "a")
    run = replace(run, stats=replace(run.stats, tokens=1, token_gaps_s=[]))
    comparison = replace(invented(blocking=(1.0,)), modes=(ModeResult("blocking", (run,)),))
    for kind in ("html", "png", "md", "csv", "json"):
        write(comparison, tmp_path / f"x.{kind}")
    assert Page((tmp_path / "x.html").read_text()).tags.count("svg") == 2


def test_pictures_are_wide_and_repeatable(tmp_path: Path) -> None:
    comparison = invented(blocking=(1.0, 2.0), iterator=(3.0, 4.0))
    write(comparison, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (1920, 1080)
    for name in ("a.svg", "b.svg"):
        write(comparison, tmp_path / name)
    root = ET.parse(tmp_path / "a.svg").getroot()  # noqa: S314 - written just before
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.9, 2.1, [1, 1.5, 2]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])],
)
def test_ticks_are_round_numbers_within_the_scale(low: float, high: float, ticks: list[float]) -> None:
    scale = Scale(low, high, 0, 100)
    assert scale.ticks() == pytest.approx(ticks)
    assert (scale(low), scale(high)) == (0, 100)


def test_options_that_cannot_be_compared_are_refused(embedded_pipeline) -> None:
    with pytest.raises(ConfigError, match="num_beams 4"):
        compare(embedded_pipeline, PICTURE, GenerationOptions(num_beams=4))
