"""A batch reads object stores as it reads folders; ``file://`` is one that needs no server."""

import base64
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batch.fakes import Echo
from tests.conftest import ASSETS, Run
from vita_demo.batch.batch import Batch
from vita_demo.batch.input import open_input
from vita_demo.batch.output import Output
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.errors import InputError, MediaError, VitaDemoError
from vita_demo.files import object_store
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.preprocess.media import load_media
from vita_demo.request import Request, Sampling
from vita_demo.resources import resource

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
CONFIG = VitaConfig.from_pretrained(resource("assets", "vita-tiny"))


class Reader(Echo):
    """Reads the media, and answers with how many tiles and frames of sound there are."""

    def _end(self, request: Request) -> Event:
        try:
            media = load_media(request, CONFIG, isolated=True)
        except VitaDemoError as error:
            return Event("", 0.0, 0, finish_reason="error", error=error)
        counts = [0 if array is None else len(array) for array in (media.tiles, media.fbank)]
        return super()._end(Request(question=f"{media.modality} {counts}"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder with a picture, a clip, a sound and a broken picture."""
    folder = tmp_path / "my store"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(ASSETS / "scene.png", folder / "scene 10%.png")
    shutil.copy(ASSETS / "moving.mp4", folder / "deep")
    shutil.copy(ASSETS / "question.wav", folder / "deep")
    (folder / "broken.png").write_bytes((ASSETS / "scene.png").read_bytes()[:1000])
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.fixture
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files of this process are, which must be gone in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run(given: str, out: Path, glob: str = "**/*", **rest) -> list[dict]:
    batch = Batch(open_input(given, glob), "What?", Sampling(max_frames=2), GenerationOptions())
    batch.run(rest.pop("answers", None) or Reader(), Output(out), StopSignal(), **rest)
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_a_folder_gives_the_rows_of_the_same_folder_here(store: Path, tmp_path: Path, temporary_files: Path) -> None:
    here, there = run(str(store), tmp_path / "here.jsonl"), run(store.as_uri(), tmp_path / "there.jsonl")
    assert [row["row"] for row in there] == ["broken.png", "scene 10%.png", "deep/moving.mp4", "deep/question.wav"]
    assert [row["text"] is None for row in there] == [True, False, False, False]
    assert there[0]["error"] == here[0]["error"].replace(str(store), store.as_uri())
    assert there[1:] == here[1:]
    assert [*temporary_files.iterdir()] == []


@pytest.mark.parametrize("glob", ["*.png", "**/*.mp4", "deep/*", "**/deep/**/*.wav", "d*/q?estion.[w]av", "**/*.PNG"])
def test_a_pattern_takes_the_files_that_it_takes_here(store: Path, glob: str) -> None:
    def keys(given: str) -> list | str:
        try:
            return [row.key for row in open_input(given, glob).rows()]
        except InputError as error:
            return str(error).replace(store.as_uri(), str(store))

    assert keys(store.as_uri()) == keys(str(store))


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_table_may_lie_there_and_so_may_its_files(
    store: Path, tmp_path: Path, suffix: str, temporary_files: Path
) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    paths = ["scene 10%.png", f"{store.as_uri()}/scene%2010%25.png", str(store / "scene 10%.png"), "none.png"]
    table = store / "deep" / f"table.{suffix}"
    values = {"image_path": [f"../{paths[0]}", *paths[1:]], "n": ["1", "2", "3", "4"]}
    if suffix == "jsonl":
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        (csv.write_csv if suffix == "csv" else parquet.write_table)(pa.table(values), table)
    found = run(table.as_uri(), tmp_path / "out.jsonl")
    assert [row["row"] for row in found] == [0, 1, 2, 3]
    assert {name: [row[name] for row in found] for name in values} == values
    assert found[0]["text"] is not None
    assert found[0]["text"] == found[1]["text"] == found[2]["text"]
    assert found[3]["error"] == f"image_path {store.as_uri()}/deep/none.png does not exist; check the URI"
    assert [*temporary_files.iterdir()] == []


def test_a_table_here_may_name_uris_and_each_row_has_its_own_error(store: Path, tmp_path: Path) -> None:
    picture = base64.b64encode((ASSETS / "scene.png").read_bytes()).decode()
    (store / "empty.png").touch()
    rows = [
        {"video_path": f"{store.as_uri()}/deep/moving.mp4", "audio_path": f"{store.as_uri()}/deep/question.wav"},
        {"image_paths": [f"data:image/png;base64,{picture}", f"{store.as_uri()}/scene 10%.png"]},
        {"image_path": "data:image/png;base64,é"},
        {"image_path": "https://example.org/a.png"},
        {"image_path": "nope://bucket/a.png"},
        {"image_path": f"{store.as_uri()}/empty.png"},
        {"image_path": f"{store.as_uri()}/deep/question.wav"},
    ]
    table = tmp_path / "in.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = run(str(table), tmp_path / "out.jsonl")
    assert [row["error"] is None for row in found] == [True, True, False, False, False, False, False]
    assert found[0]["text"].startswith("VIDEO [2, ")
    assert [row.get("image_path") for row in found] == [row.get("image_path") for row in rows]
    errors = [
        r"image_path data:image/png;base64,é.* is no data URI \(.*\); write data:image/png;base64,…",
        r"image_path https://example.org/a.png is a URL of the web; download it .*",
        r"image_path nope://bucket/a.png cannot be read \(.*\); check the URI, .*",
        rf"image_path {store.as_uri()}/empty.png is empty \(0 bytes\); give another file",
        rf"image_path {store.as_uri()}/deep/question.wav is a sound file; give it as --audio_path",
    ]
    for row, error in zip(found[2:], errors, strict=True):
        assert re.fullmatch(error, row["error"]), row["error"]


def test_a_batch_that_was_stopped_goes_on(store: Path, tmp_path: Path) -> None:
    out, signal = tmp_path / "out.jsonl", StopSignal()
    whole = run(store.as_uri(), tmp_path / "whole.jsonl")
    batch = Batch(open_input(store.as_uri(), "**/*"), "What?", Sampling(max_frames=2), GenerationOptions())
    batch.run(Reader(together=1), Output(out), signal, lambda _: signal.request("cancelled"))
    assert len(out.read_text().splitlines()) == 1
    answers = Reader()
    assert run(store.as_uri(), out, answers=answers) == whole
    assert len(answers.asked) == 3


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none", None, InputError, r"INPUT {} does not exist; check the URI"),
        ("notes.txt", b"x", InputError, r"{} is no table that is read here; give a folder.*"),
        ("t.csv", b"a;b\n1;2\n", InputError, r"{} has a single column 'a;b'; separate columns by commas"),
        ("t.parquet", b"PAR1", MediaError, r"{} is no whole Parquet table .*"),
        ("deep", None, InputError, r"{} has no pictures, videos or sounds that match --glob \*\.gif; check both"),
    ],
)
def test_an_input_that_is_none_is_refused(
    store: Path, name: str, content: bytes | None, error: type[Exception], message: str
) -> None:
    if content is not None:
        (store / name).write_bytes(content)
    uri = f"{store.as_uri()}/{name}"
    with pytest.raises(error, match=f"^{message.format(uri)}$"):
        open_input(uri, "*.gif")


def test_the_command_says_in_one_line_what_cannot_be_listed(tmp_path: Path, vita: Callable[..., Run]) -> None:
    for given in (f"{tmp_path.as_uri()}/none", "nope://bucket/folder", "https://example.org/table.csv"):
        done = vita("batch", given, "--output", tmp_path / "out.jsonl", "--question", "x")
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert given in done.err


def test_a_name_that_no_file_can_have_costs_its_own_row(tmp_path: Path) -> None:
    table, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    table.write_text('{"question": "x", "image_path": "\\ud800.png"}\n{"question": "fine"}\n')
    batch = Batch(open_input(table.as_uri(), "**/*"), "", Sampling(), GenerationOptions())
    batch.run(Echo(), Output(out), StopSignal())
    first, second = map(json.loads, out.read_text().splitlines())
    assert "is no file's name" in first["error"]
    assert second["text"] == "FINE"


def test_the_thread_that_ctrl_c_interrupts_asks_no_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = []
    for name in ("list_objects", "fetch_object"):
        ask = getattr(object_store, name)

        def note(*args: object, ask: Callable = ask, **options: object) -> object:
            asking.append(threading.current_thread())
            return ask(*args, **options)

        monkeypatch.setattr(f"vita_demo.batch.input.{name}", note)
    (store / "table.csv").write_text("question\nfine\n")
    open_input((store / "table.csv").as_uri(), "**/*")
    assert len(asking) == 2
    assert threading.main_thread() not in asking
