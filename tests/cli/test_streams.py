"""The streams and texts that the world brings: encodings, closed and full streams, bytes that are no text."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ASSETS, ROOT

HI = ("--question", "hi", "--max_new_tokens", "3", "--quiet", "--dtype", "float32", "--device", "cpu")
pytestmark = pytest.mark.slow


def vita(*arguments: str | bytes, redirect: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = ["bash", "-c", f'exec "$@" {redirect}', "bash", sys.executable, "-m", "vita_demo", *arguments]
    return subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env={**os.environ, **environment})


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    assert done.stderr.startswith(b"error: "), done.stderr.decode()
    assert done.stderr.count(b"\n") == 1, done.stderr.decode()
    return done.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
@pytest.mark.parametrize("form", [(), ("--streaming",), ("--json",)])
def test_a_full_disk_gets_one_line(form: tuple[str, ...]) -> None:
    done = vita(*HI, *form, redirect="> /dev/full")
    assert done.returncode == 1
    assert "stdout cannot be written (No space left on device)" in one_line(done)


def test_closed_streams() -> None:
    done = vita(*HI, redirect=">&-")
    assert done.returncode == 1
    assert "stdout is closed" in one_line(done)
    done = vita(*HI, redirect="2>&-")
    assert (done.returncode, done.stdout) == (0, b"Hello!\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_that_lacks_characters_gets_escapes(encoding: str) -> None:
    done = vita(*HI, "--show_state", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout) == (0, b"\\u261cHello!\n")
    done = vita(*HI, "--json", "--show_state", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout)["text"] == "Hello!"
    done.stdout.decode("ascii")


@pytest.mark.parametrize("flag", ["--question", "--stop_string", "--callback"])
def test_text_that_is_not_utf8_gets_one_line(flag: str) -> None:
    done = vita(*(HI if flag != "--question" else ("--quiet",)), flag, b"caf\xe9")
    assert done.returncode == 2
    assert "is not UTF-8 at its character 4" in one_line(done)


def test_names_of_files_may_have_any_bytes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copyfile(ASSETS / "scene.png", path)
    done = vita(*HI, "--image_path", path, "--save_run", str(tmp_path / "run"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert vita("replay", str(tmp_path / "run")).returncode == 0


def test_names_are_shown_as_given(tmp_path: Path) -> None:
    path = tmp_path / "12:100:07[bold] [1].png"
    shutil.copyfile(ASSETS / "scene.png", path)
    done = vita("--question", "hi", "--max_new_tokens", "1", "--image_path", str(path))
    assert b"image 12:100:07[bold] [1].png: 640" in done.stderr
    assert b"12:100:07[bold] [1].png  picture" in vita("inspect", str(path)).stdout
    gone = str(tmp_path / "gone:smile:[red].png")
    assert "gone:smile:[red].png does not exist" in one_line(vita(*HI, "--image_path", gone))


def test_a_chat_refuses_lines_that_are_no_text() -> None:
    command = [sys.executable, "-m", "vita_demo", "chat", "--max_new_tokens", "2"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, input=b"caf\xe9\nhi\n", capture_output=True, check=False, cwd=ROOT, env=environment)
    assert b"is not UTF-8 at its character 4" in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
    assert done.returncode == 1
