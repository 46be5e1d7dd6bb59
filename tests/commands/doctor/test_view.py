"""The report fits its terminal, and groups what belongs together."""

import pytest
from rich.console import Console as RichConsole
from rich.text import Text

from tests.commands.doctor.fakes import device
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.doctor.diagnosis import Diagnosis
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.memory import MemoryTable
from vita_demo.commands.doctor.view import show_diagnosis
from vita_demo.resources import resource

LONG = "a text of many words that no terminal shows in a single line, however wide it may be; " * 4


def shown(diagnosis: Diagnosis, width: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    console = RichConsole(width=width, force_terminal=True, highlight=False, markup=False, soft_wrap=True)
    show_diagnosis(diagnosis, console)
    return Text.from_ansi(capsys.readouterr().out).plain.splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    config = VitaConfig.from_pretrained(resource("configs", "vita15"))
    table = MemoryTable.of(8_322_947_232, config, (device(20e9), device(80e9, "cuda:0")))
    findings = (Finding("Checkpoint", "problem", LONG, LONG), Finding("Memory", "note", LONG))
    lines = shown(Diagnosis(findings, table), width, capsys)
    assert max(map(len, lines[:-1])) <= width
    start = lines.index("Checkpoint") + 1
    assert lines[start].startswith("  ✗ a text of many words")
    assert lines[start + 1].startswith("    ")
    assert len(lines[start]) > width - 20
    assert any(line.startswith("    → a text") for line in lines)
    assert any("cuda:0" in line and line.endswith(" fits") for line in lines)
    memory = lines[lines.index("Memory") + 1 : -2]
    assert all(line.startswith("  ") for line in memory)
    words = " ".join(" ".join(memory).split())
    assert "…" not in words
    assert all(word in words for word in ("positions", "weights", "about", "bfloat16"))


def test_a_path_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/folder" * 20
    lines = shown(Diagnosis((Finding("Checkpoint", "ok", f"before {path} after"),), None), 80, capsys)
    assert [line.strip() for line in lines[1:4]] == ["✓ before", path, "after"]


def test_a_shared_fix_is_shown_once_and_many_problems_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding("Tensors", "problem", f"tensor {number} is missing", "fetch it") for number in range(10)]
    lines = shown(Diagnosis((*findings, Finding("Media", "ok", "pictures")), None), 80, capsys)
    assert sum("is missing" in line for line in lines) == 8
    assert lines.count("    → fetch it") == 1
    assert "    and 2 more problems; --json lists them all" in lines
    assert lines[-1] == "The model cannot run as it is (1 ok, 0 notes, 10 problems)."
