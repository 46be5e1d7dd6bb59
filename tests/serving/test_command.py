"""``vita-demo serve`` as a program: it says where it is, refuses what cannot be, and ends in order."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, Run
from tests.serving.running import CHAT, body, make
from vita_demo.errors import CheckpointError

SLOW_STEPS = """
import time
from vita_demo.model.decode.slots import Slots
step = Slots.step
Slots.step = lambda *arguments: (time.sleep(0.05), step(*arguments))[1]
from vita_demo.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_answer_end_and_the_program_with_0(number: int) -> None:
    command = [sys.executable, "-c", SLOW_STEPS, "serve", "--port", "0", "--device", "cpu", "--parallel", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+) serves vita-tiny\n", line)
        assert found, line
        url = found[1]
        with httpx.stream("POST", url + CHAT, json=body("Describe this.", stream=True), timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(number)
            start_s = time.monotonic()
            rest = [*lines]
        assert rest[-2] == "data: [DONE]"
        assert process.wait(30) == 0
        assert time.monotonic() - start_s < 30
        errors = process.stderr.read()
        assert "Traceback" not in errors
        assert "error" not in errors
    finally:
        process.kill()
        process.communicate()


def test_without_its_packages_one_line_says_how_to_get_them(
    vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package's own attribute of this name is the command.
    monkeypatch.setattr(sys.modules["vita_demo.cli.serve"], "_PACKAGES", ("click", "no_such_package"))
    run = vita("serve")
    assert run.code == 2
    assert run.error == "serve needs no_such_package; get what is missing: pip install '.[serve]' in its folder"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--host", "::"), "--api_key_file FILE"),
        (("--port", "70000"), "--port 70000 must be between"),
        (("--api_key_file", "missing"), "--api_key_file missing does not exist"),
        (("--model_path", "missing"), "--model_path missing does not exist"),
        (("--allow_origin", "x"), "is no origin"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(vita: Callable[..., Run], flags: tuple, says: str) -> None:
    run = vita("serve", *flags)
    assert run.code == 2
    assert says in run.error
    assert run.out == ""


def test_weights_that_cannot_be_loaded_end_the_server() -> None:
    def load() -> None:
        raise CheckpointError("model.safetensors is damaged")

    server = make(load)
    with pytest.raises(CheckpointError, match="damaged"):
        server.run()


def test_every_flag_is_in_the_page_about_serving(vita: Callable[..., Run]) -> None:
    flags = set(re.findall(r"--\w+", vita("serve", "--help").out))
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    assert flags - {"--help"} <= set(re.findall(r"--\w+", text))


def test_the_script_starts_the_server_with_its_packages(tmp_path: Path) -> None:
    """``enhanced_demo.sh serve`` in an environment that has all that is needed."""
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "VIRTUAL_ENV": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "enhanced_demo.sh", "serve", "--port", "0"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "-m vita_demo serve --port 0\n"
