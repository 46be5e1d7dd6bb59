"""A saved run replays to the same tokens, or says where it differs."""

import gc
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ASSETS, Run
from vita_demo.commands.run.replay import replay
from vita_demo.commands.run.saved_run import SavedRun
from vita_demo.model.ops.cpu_profile import cpu_profile
from vita_demo.pipeline import Pipeline

Vita = Callable[..., Run]


ASK = ("--question", "Describe this image.", "--image_path", ASSETS / "scene.png", "--max_new_tokens", 12)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float32_on_the_cpu")]


@pytest.mark.parametrize("flags", [(), ("--temperature", 1.5, "--min_new_tokens", 12)])
def test_a_saved_run_replays_to_the_same_tokens(vita: Vita, tmp_path: Path, flags: tuple) -> None:
    first = vita(*ASK, *flags, "--json", "--save_run", tmp_path / "run").json
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["report"]["token_ids"] == first["token_ids"]
    assert saved["options"]["max_new_tokens"] == 12
    assert {name: saved["model"][name] for name in ("device", "dtype", "threads")} == {
        "device": "cpu", "dtype": "float32", "threads": torch.get_num_threads(),
    }  # fmt: skip
    assert len((tmp_path / "run" / "events.jsonl").read_text().splitlines()) == 13
    again = vita("replay", tmp_path / "run")
    assert again.code == 0
    assert "the same 12 tokens again" in again.err


def test_a_run_is_replaced_only_when_asked(vita: Vita, tmp_path: Path) -> None:
    hi = ("--question", "hi", "--max_new_tokens", 1, "--save_run", tmp_path / "run")
    assert vita(*hi).code == 0
    again = vita(*hi)
    assert again.code == 2
    assert "holds a run already; give --overwrite" in again.error
    assert vita(*hi, "--overwrite").code == 0


def test_a_file_that_changed_is_named(vita: Vita, tmp_path: Path) -> None:
    picture, frames = tmp_path / "p.png", tmp_path / "frames"
    frames.mkdir()
    for path in (picture, frames / "1.png"):
        path.write_bytes((ASSETS / "scene.png").read_bytes())
    for number, media in enumerate((("--image_path", picture), ("--video_path", frames))):
        vita("--question", "?", "--max_new_tokens", 3, *media, "--save_run", tmp_path / f"run{number}")
        assert "has changed" not in vita("replay", tmp_path / f"run{number}").err
    picture.write_bytes(picture.read_bytes() + b" ")
    (frames / "1.png").rename(frames / "2.png")
    assert "note: p.png has changed since the run was saved" in vita("replay", tmp_path / "run0").err
    assert "note: frames has changed since the run was saved" in vita("replay", tmp_path / "run1").err


def test_what_came_from_no_file_is_kept_with_the_run(
    vita: Vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((ASSETS / "scene.png").read_bytes())))
    vita("--question", "?", "--max_new_tokens", 3, "--image_path", "-", "--save_run", tmp_path / "run")
    assert (tmp_path / "run" / "image1-stdin").read_bytes() == (ASSETS / "scene.png").read_bytes()
    gc.collect()
    assert "the same 3 tokens again" in vita("replay", tmp_path / "run").err


def test_a_replay_that_differs_says_where_and_exits_1(vita: Vita, tmp_path: Path) -> None:
    vita(*ASK, "--save_run", tmp_path)
    path = tmp_path / "run.json"
    saved = json.loads(path.read_text())
    saved["report"]["token_ids"][4] += 1
    path.write_text(json.dumps(saved))
    run = vita("replay", tmp_path)
    assert run.code == 1
    assert "part at token 4" in run.error


def test_a_replay_rounds_as_the_run_did(vita: Vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vita(*ASK, "--save_run", tmp_path)
    path = tmp_path / "run.json"
    saved = json.loads(path.read_text())
    choices = {"gemv_stripes_small": False, "decodes_bfloat16": True}
    saved["report"]["host"]["cpu_profile"] = {"machine": "another", **choices}
    path.write_text(json.dumps(saved))
    used = []
    monkeypatch.setattr(Pipeline, "of", lambda source: used.append((source, cpu_profile().choices)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        replay(SavedRun.load(tmp_path))
    [(source, profile)] = used
    assert (source.device, source.dtype) == ("cpu", "float32")
    assert profile == choices
    assert cpu_profile().machine != "another"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "holds no run.json"), ("{", "cannot be read"), ("{}", "cannot be read")]
)
def test_folders_without_a_run_are_refused(vita: Vita, tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    run = vita("replay", tmp_path)
    assert words in run.error
    assert run.code == 2
