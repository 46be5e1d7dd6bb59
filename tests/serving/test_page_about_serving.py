"""What ``docs/serving.md`` shows is so."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.serving.running import Running

TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def test_its_python_prints_answers(
    server: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall("```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(block.replace(ADDRESS, server.url), "serving.md", "exec"), {})  # noqa: S102 - as readers do
    described, spoken, greeted = capsys.readouterr().out.splitlines()
    assert described.startswith("There are three shapes")
    assert re.search(r" speech \d+$", spoken)
    assert greeted.startswith("Hello!")


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
@pytest.mark.parametrize("program", ["curl", "llm"])
def test_its_commands_print_what_is_shown(server: Running, program: str) -> None:
    ((command, output),) = re.findall(rf"```\n\$ ({program} .*)\n(.*)\n```", TEXT)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, server.url)],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.stdout.strip() == output


def test_its_doors_are_there(answering: Running) -> None:
    endpoints = re.findall(r"^\| `(GET|POST) (\S+)` ", TEXT, re.MULTILINE)
    assert len(endpoints) == 10
    for method, path in endpoints:
        if "ID" not in path and path != "/":
            status = (answering.get(path) if method == "GET" else answering.post(path, {})).status_code
            assert status in (200, 400)


def test_its_figures_are_there(answering: Running) -> None:
    answering.chat()
    text = answering.get("/metrics").text
    names = re.findall(r"`([a-z_]+)`", TEXT.split("## Figures")[1])
    assert len(names) > 10
    for name in names[1:] if names[0] == "vita_demo_" else names:
        assert f"vita_demo_{name}" in text, name
