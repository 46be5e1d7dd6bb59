"""What the README says that vita-tiny answers is what it answers."""

import re
import shlex
from collections.abc import Callable

import pytest

from tests.conftest import ROOT, Run


def shown() -> list[tuple[str, str]]:
    """Return commands of the README's samples, each with the answer below it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## The miniature\n")[1].split("\n## ")[0]
    block = re.search("```\n(\\$ vita-demo.*?)```", section, re.DOTALL)
    assert block
    return [tuple(part.strip().split("\n", 1)) for part in block[1].split("$ vita-demo ") if part]


def test_all_kinds_of_media_are_shown() -> None:
    commands = " ".join(command for command, _ in shown())
    for flag in ("--image_path", "--video_path", "--audio_path", "noise.wav", "noisy_question.wav"):
        assert flag in commands


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "command", "answer"),
    [
        *(("float32", *sample) for sample in shown()),
        *(("bfloat16", *sample) for sample in shown()),
        ("float16", *shown()[0]),
    ],
)
def test_a_sample_is_answered_as_shown(
    vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, dtype: str, command: str, answer: str
) -> None:
    monkeypatch.chdir(ROOT)
    run = vita(*shlex.split(command), "--device", "cpu", "--dtype", dtype)
    assert run.code == 0
    assert run.out == answer + "\n"
