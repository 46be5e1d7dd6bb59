"""``vita-demo compare`` from the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ASSETS, Run
from vita_demo.answer import Answer
from vita_demo.commands.compare.modes import MODES

Vita = Callable[..., Run]
SCENE = ("--image_path", ASSETS / "scene.png", "--question", "Describe this image.", "--max_new_tokens", 6,
         "--device", "cpu", "--dtype", "float32")  # fmt: skip


def test_equal_answers_are_reported_on_stdout(vita: Vita) -> None:
    run = vita("compare", *SCENE, "--temperature", 1.3, "--modes", "blocking, callbacks,blocking", "--runs", 1)
    assert run.code == 0
    assert "✓ all 2 runs in 2 modes gave the same 6 token ids and the same text" in run.out
    assert "every run samples with seed 0" in run.err
    assert "sampled with seed 0" in run.out


def test_a_difference_exits_1_after_the_table_and_the_files(
    vita: Vita, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def changed(*arguments: object) -> Answer:
        run = MODES["iterator"](*arguments)
        return replace(run, token_ids=(*run.token_ids[:3], 1, *run.token_ids[4:]))

    monkeypatch.setattr("vita_demo.commands.compare.plan.MODES", {**MODES, "iterator": changed})
    report = tmp_path / "report.json"
    run = vita("compare", *SCENE, "--modes", "blocking,iterator", "--runs", 1, "--output", report)
    assert run.code == 1
    assert run.error.startswith("iterator differs from blocking in run 1 at step 3: id 1 in …")
    assert "✗ iterator differs" in run.out
    content = json.loads(report.read_text(encoding="utf-8"))
    assert not content["equal"]
    assert content["difference"]["step"] == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--modes", "blocking,levitating"), "--modes 'levitating' is unknown; give some of blocking,"),
        (("--runs", 0), "--runs 0 must be at least 1"),
        (("--output", "report.docx"), "report.docx has a suffix that names no format; give one of .json"),
        (("--output", "no/such/folder/x.json"), "cannot be written (No such file or directory)"),
        (("--num_beams", 2), "--num_beams 2 cannot be compared"),
        (("--time_limit_s", 2), "--time_limit_s 2 ends each run at another token"),
        (("--quantize", "int8", "--modes", "transformers"), "--quantize int8"),
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
