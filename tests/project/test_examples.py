"""Every example runs, says what it promises, and is short."""

import json
import re
import runpy
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ASSETS, ROOT

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_examples_are_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
        assert len(lines) < 40, path.name


def test_enhanced_demo(monkeypatch, capsys) -> None:
    assert "tokens, finished by stop]" in run(monkeypatch, capsys, "enhanced_demo")


def test_performance_monitor(monkeypatch, capsys) -> None:
    lines = run(monkeypatch, capsys, "performance_monitor").splitlines()
    assert [line.split()[0] for line in lines] == ["text", "picture", "video", "speech"]
    assert all(re.search(r"decode \d+ tokens at", line) for line in lines)


def test_first_sentence(monkeypatch, capsys) -> None:
    text = run(monkeypatch, capsys, "first_sentence").strip()
    assert text
    assert not any(end in text[:-4] for end in ".!?")


def test_caption_folder(monkeypatch, capsys, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((ASSETS / "scene.png").read_bytes())
    (tmp_path / "b.png").write_text("no picture")
    (tmp_path / "c.png").touch()
    lines = [json.loads(line) for line in run(monkeypatch, capsys, "caption_folder", str(tmp_path)).splitlines()]
    said = {line["file"]: line for line in lines}
    assert said["a.png"]["caption"]
    assert "b.png" in said["b.png"]["error"]
    assert "c.png is empty" in said["c.png"]["error"]


def test_web_stream() -> None:
    serve = runpy.run_path(str(EXAMPLES / "web_stream.py"))["serve"]
    with serve(0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with urllib.request.urlopen(f"http://localhost:{server.server_port}/?question=hello") as response:
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            blocks = response.read().decode().strip().split("\n\n")
        server.shutdown()
        thread.join()
    assert len(blocks) > 10
    assert all(json.loads(block.removeprefix("data: ")) for block in blocks)
