"""One row for each row, whatever happens to the batch."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.batch.fakes import Echo
from vita_demo.batch.batch import Batch, Progress
from vita_demo.batch.input import open_input
from vita_demo.batch.output import ANSWER_COLUMNS, Output
from vita_demo.batch.row import Row, fill, request_of
from vita_demo.errors import InputError, MediaError
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Sampling

QUESTIONS = ["one", "two", "bad three", "four", "", "six", "seven"]


def table(folder: Path, questions: Sequence[str] = QUESTIONS) -> Path:
    path = folder / "in.jsonl"
    path.write_text(
        "".join(json.dumps({"question": text, "id": number}) + "\n" for number, text in enumerate(questions))
    )
    return path


def run(path: Path | str, out: Path, *, retry: bool = False, signal: StopSignal | None = None, **rest) -> Echo:
    echo = rest.pop("echo", None) or Echo()
    stdin = rest.pop("stdin", None)
    batch = Batch(open_input(str(path), "**/*", stdin), rest.pop("question", ""), Sampling(), GenerationOptions())
    batch.run(echo, Output(out, retry), signal or StopSignal(), **rest)
    return echo


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_row_has_a_row_in_order_with_its_columns_and_an_answer_or_an_error(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(table(tmp_path), out)
    rows = lines(out)
    assert [row["row"] for row in rows] == list(range(7))
    assert [row["id"] for row in rows] == list(range(7))
    assert [row["text"] for row in rows] == ["ONE", "TWO", None, "FOUR", None, "SIX", "SEVEN"]
    assert rows[2]["error"] == "a bad file"
    assert "there is nothing to answer" in rows[4]["error"]
    assert {*ANSWER_COLUMNS} < set(rows[0])
    assert (rows[0]["finish_reason"], rows[0]["answer_tokens"], rows[0]["error"]) == ("stop", 3, None)


@settings(max_examples=50)
@given(st.data())
def test_a_batch_killed_at_any_byte_goes_on_from_there(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    folder = tmp_path_factory.mktemp("batch")
    out = folder / "out.jsonl"
    run(table(folder), out)
    whole = out.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        out.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        echo = run(table(folder), out)
        assert out.read_bytes() == whole
    assert len(echo.asked) <= len(QUESTIONS)


def test_what_is_there_is_not_done_again(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(table(tmp_path, QUESTIONS[:4]), out)
    echo = run(table(tmp_path), out)
    assert [request.question for request in echo.asked] == ["seven", "six"]
    assert [row["row"] for row in lines(out)] == list(range(7))


def test_errors_are_done_again_when_asked_and_keep_their_place(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(table(tmp_path), out)
    assert run(table(tmp_path), out).asked == []
    echo = Echo()
    echo.bad = ""
    run(table(tmp_path), out, retry=True, echo=echo)
    assert [request.question for request in echo.asked] == ["bad three"]
    assert [row["text"] for row in lines(out)] == ["ONE", "TWO", "BAD THREE", "FOUR", None, "SIX", "SEVEN"]


def test_a_stop_keeps_what_is_finished_and_the_next_run_does_the_rest(tmp_path: Path) -> None:
    out, signal = tmp_path / "out.jsonl", StopSignal()

    def stop(progress: Progress) -> None:
        if progress.rows == 4:
            signal.request("cancelled")

    run(table(tmp_path), out, signal=signal, show=stop)
    assert 0 < len(lines(out)) < 7
    run(table(tmp_path), out)
    assert [row["row"] for row in lines(out)] == list(range(7))


def test_progress_counts_rows_tokens_and_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Progress] = []
    run(table(tmp_path), tmp_path / "out.jsonl", show=seen.append)
    progress = seen[-1]
    assert (progress.rows, progress.tokens, progress.errors) == (7, 15, 2)
    monkeypatch.setattr(Progress, "seconds", 100.0)
    assert progress.describe().startswith("7 of 7 rows · 0.1 rows/s · 0 tokens/s · 2 errors · 0:00 left")
    later = Progress(total=10_000, before=100, rows=50, tokens=700)
    assert later.describe() == "150 of 10,000 rows · 0.5 rows/s · 7 tokens/s · 0 errors · 5:28:20 left"
    assert Progress(total=None, before=0, errors=1).describe().endswith("1 error")


# Inputs


def test_a_folder_gives_a_row_for_each_medium_in_natural_order(tmp_path: Path) -> None:
    for name in ("p10.png", "p2.PNG", "deep/clip.mp4", "voice.wav", "notes.txt", ".hidden/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    rows = [*open_input(str(tmp_path), "**/*").rows()]
    assert [(row.key, dict(row.values)) for row in rows] == [
        ("p2.PNG", {"image_path": "p2.PNG"}),
        ("p10.png", {"image_path": "p10.png"}),
        ("voice.wav", {"audio_path": "voice.wav"}),
        ("deep/clip.mp4", {"video_path": "deep/clip.mp4"}),
    ]
    assert [row.key for row in open_input(str(tmp_path), "*.png").rows()] == ["p10.png"]
    with pytest.raises(InputError, match=r"match --glob \*\.gif"):
        open_input(str(tmp_path), "*.gif")


def test_tables_in_every_format_give_the_same_rows(tmp_path: Path) -> None:
    rows = [{"question": 'é,\n"x"', "n": "1"}, {"question": "two", "n": "2"}]
    (tmp_path / "t.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "t.csv").write_text('question,n\r\n"é,\n""x""",1\r\ntwo,2\r\n', encoding="utf-8")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow as pa

    parquet.write_table(
        pa.table({"question": [row["question"] for row in rows], "n": ["1", "2"]}), tmp_path / "t.parquet"
    )
    for suffix in ("jsonl", "csv", "parquet"):
        opened = open_input(str(tmp_path / f"t.{suffix}"), "")
        assert opened.total == 2
        assert [dict(row.values) for row in opened.rows()] == rows, suffix
        assert [row.key for row in opened.rows()] == [0, 1]


def test_lines_from_stdin_that_are_no_objects_cost_their_own_row(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run("-", out, stdin=io.StringIO('{"question": "a"}\n[1]\n{"question"\n{"question": "d"}\n'))
    rows = lines(out)
    assert [row["text"] for row in rows] == ["A", None, None, "D"]
    assert rows[1]["error"] == "row 1 is no JSON object"
    assert rows[2]["error"].startswith("row 2 is no JSON (")


def test_a_table_in_parquet_is_made_of_the_rows_at_the_end(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    out = tmp_path / "out.parquet"
    run(table(tmp_path, QUESTIONS[:3]), out)
    run(table(tmp_path), out)
    rows = parquet.read_table(out).to_pylist()
    assert [row["text"] for row in rows] == ["ONE", "TWO", None, "FOUR", None, "SIX", "SEVEN"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.parquet"]
    out.write_bytes(out.read_bytes()[:-20])
    with pytest.raises(MediaError, match="no whole Parquet table"):
        run(table(tmp_path), out)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "does not exist; give a folder"),
        ("table.xlsx", "x", "is no table that is read here"),
    ],
)
def test_an_input_that_is_none_is_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        open_input(str(tmp_path / name), "")


def test_outputs_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"names no format; give \.jsonl or \.parquet"):
        Output(tmp_path / "out.txt")
    with pytest.raises(InputError, match="there is no folder"):
        Output(tmp_path / "none" / "out.jsonl")
    with pytest.raises(InputError, match="must be a file of this machine; copy it into the bucket"):
        Output(Path("s3://bucket/out.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="is a folder; give a file"):
        Output(tmp_path / "folder.jsonl")
    other = tmp_path / "other.jsonl"
    other.write_text('{"a": 1}\n')
    with pytest.raises(InputError, match="something else in line 1"):
        Output(other)
    assert other.read_text() == '{"a": 1}\n'


@pytest.mark.parametrize(
    ("questions", "template"),
    [(["one", "2"], ""), (["one"], ""), (["", ""], "Another?")],
    ids=["another row", "fewer rows", "another question"],
)
def test_an_output_of_something_else_is_refused_and_kept(tmp_path: Path, questions: list, template: str) -> None:
    out = tmp_path / "out.jsonl"
    run(table(tmp_path, ["uno", "two"]), out)
    before = out.read_bytes()
    with pytest.raises(InputError, match="has another question or other columns in row 0; give another file"):
        run(table(tmp_path, questions), out, question=template)
    assert out.read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_output_with_all_rows_is_checked_and_finished_without_a_model(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path, out = table(tmp_path, ["one", "two"]), tmp_path / name
    run(path, out)
    batch = Batch(open_input(str(path), "**/*"), "", Sampling(), GenerationOptions())
    assert batch.finish(Output(out))
    assert not (tmp_path / "out.parquet.part.jsonl").exists()
    table(tmp_path, ["one", "three"])
    with pytest.raises(InputError, match="another question or other columns in row 1"):
        batch.finish(Output(out))


@pytest.mark.parametrize("name", ["a\0.png", "\ud800.png"])
def test_a_path_that_no_file_can_have_costs_its_own_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"question": "x", "image_path": name}) + '\n{"question": "fine"}\n')
    run(path, tmp_path / "out.jsonl")
    rows = lines(tmp_path / "out.jsonl")
    assert "is no path" in rows[0]["error"]
    assert rows[1]["text"] == "FINE"


@pytest.mark.parametrize("glob", ["/abs", ""])
def test_a_glob_that_is_none_is_refused(tmp_path: Path, glob: str) -> None:
    with pytest.raises(InputError, match="is no pattern of files"):
        open_input(str(tmp_path), glob)


def test_an_output_can_be_another_ones_input(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    run(table(tmp_path, ["one"]), first)
    run(first, second)
    (row,) = lines(second)
    assert (row["text"], row["input_text"], row["question"], row["input_row"]) == ("ONE", "ONE", "one", 0)


def test_what_is_no_utf_8_costs_its_own_row(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"question\nfine\nh\xe9\n")
    run(path, tmp_path / "out.jsonl")
    rows = lines(tmp_path / "out.jsonl")
    assert rows[0]["text"] == "FINE"
    assert "is not UTF-8" in rows[1]["error"]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "bad\udcff.png").write_bytes(b"x")
    run(pictures, tmp_path / "pictures.jsonl", question="What?")
    run(pictures, tmp_path / "pictures.jsonl", question="What?")
    assert [row["text"] for row in lines(tmp_path / "pictures.jsonl")] == ["WHAT?"]


def test_numbers_that_json_has_not_and_other_separators_are_said(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run("-", out, stdin=io.StringIO('{"question": "a", "x": NaN}\n'))
    assert "NaN is no JSON value" in lines(out)[0]["error"]
    path = tmp_path / "in.csv"
    path.write_text("question;image_path\na;b\n")
    with pytest.raises(InputError, match="has a single column 'question;image_path'; separate columns by commas"):
        open_input(str(path), "")


# Rows


def test_a_question_may_name_columns() -> None:
    assert fill("What is {name}? {{not}} {n}", {"name": "a {n}", "n": 3}) == "What is a {n}? {not} 3"
    with pytest.raises(InputError, match=r"names \{colour\}, and the columns are name; write \{\{ for a brace"):
        fill("{colour}", {"name": "x"})


def test_a_row_may_say_all_that_a_request_has(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "v.wav"):
        (tmp_path / name).write_bytes(b"x")
    values = {
        "image_paths": ["a.png", str(tmp_path / "b.png")],
        "audio_path": "v.wav",
        "fps": "2",
        "max_frames": 3,
        "x": 1,
    }
    request = request_of(Row(0, values), "and {x}?", tmp_path, Sampling(start_s=1.0))
    assert request.question == "and 1?"
    assert request.image_paths == (tmp_path / "a.png", tmp_path / "b.png")
    assert (request.audio_path, request.fps, request.max_frames, request.start_s) == (tmp_path / "v.wav", 2.0, 3, 1.0)
    with pytest.raises(InputError, match="fps 'quick' is no number"):
        request_of(Row(0, {"question": "x", "fps": "quick"}), "", tmp_path, Sampling())
