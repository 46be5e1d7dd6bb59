"""What the pages about the commands show is what the commands print."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run

PAGES = ("compare", "inspect", "doctor")


def samples(page: str) -> list[tuple[str, str]]:
    """Return the commands of a page, each with the output below it."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall("```\n\\$ vita-demo (.*?)\n(.*?)```", text, re.DOTALL)
    return [(command, output.rstrip("\n")) for command, output in blocks]


@pytest.mark.parametrize(("command", "output"), samples("inspect"))
def test_inspect_prints_what_its_page_shows(
    vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, output: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(ROOT)
    assert vita(*shlex.split(command)).out.splitlines() == output.splitlines()


def test_doctor_prints_what_its_page_shows(
    vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command, output = samples("doctor")[0]
    folder = tmp_path / "models" / "VITA-1.5"
    shutil.copytree(ROOT / "assets" / "vita-tiny", folder)
    (folder / "merges.txt").unlink()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3_000_000])
    monkeypatch.chdir(tmp_path)
    run = vita(*shlex.split(command))
    assert run.code == 1
    assert output.strip("…\n") in run.out


def test_the_self_test_has_the_paths_that_its_page_shows(
    vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vita_demo.commands.doctor.self_test._MEASURE_S", 0)
    command, output = samples("doctor")[1]
    shown, printed = ([line[:33] for line in text.splitlines()[2:]] for text in (output, vita(*command.split()).out))
    assert [line[:20] for line in shown] == [line[:20] for line in printed]
    assert shown[0] == printed[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_of_a_page_exists_and_every_link_leads_somewhere(page: str, vita: Callable[..., Run]) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    help_text = vita(page, "--help").out + vita("run", "--help").out  # a page speaks of questions too
    prose = re.sub("```.*?```", "", text, flags=re.DOTALL)
    for flag in re.findall(r"--\w+", prose):
        assert flag in help_text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / "docs" / link).exists()


def test_the_page_of_compare_has_its_modes_and_formats() -> None:
    from vita_demo.commands.compare.modes import MODES
    from vita_demo.commands.compare.output import WRITERS

    text = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)
    assert [cell for cell in first_cells if not cell.startswith("--")] == [*MODES, *WRITERS]
