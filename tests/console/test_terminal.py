"""Where stdout goes, and the echo of what is typed."""

import os
import pty
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from vita_demo.console.terminal import Place, place_of

HELD = """
import os, sys
from vita_demo.console.terminal import without_echo
with without_echo(sys.stderr):
    print("begun", flush=True)
    sys.stdin.readline()
    print("done", flush=True)
    {end}
"""


@pytest.fixture
def terminal() -> Iterator[int]:
    """A terminal's descriptor, for programs."""
    master, slave = pty.openpty()
    yield slave
    os.close(slave)
    os.close(master)


def test_a_terminal_that_both_share_is_known(terminal: int) -> None:
    with os.fdopen(os.dup(terminal), "w") as stdout, os.fdopen(os.dup(terminal), "w") as stderr:
        assert place_of(stdout, stderr) is Place.SAME


def test_another_terminal_and_a_file_are_elsewhere(terminal: int, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with os.fdopen(os.dup(terminal), "w") as stderr:
        with os.fdopen(slave, "w") as stdout:
            assert place_of(stdout, stderr) is Place.ELSEWHERE
        with (tmp_path / "o.txt").open("w") as stdout:
            assert place_of(stdout, stderr) is Place.ELSEWHERE
    os.close(master)


def test_what_reads_a_pipe_may_write_to_the_terminal(terminal: int) -> None:
    reader, writer = os.pipe()
    with os.fdopen(os.dup(terminal), "w") as stderr, os.fdopen(writer, "w") as stdout:
        assert place_of(stdout, stderr) is Place.UNKNOWN
    with os.fdopen(reader) as stderr, Path(os.devnull).open("w") as stdout:
        assert place_of(stdout, stderr) is Place.ELSEWHERE


def test_a_file_that_gets_both_is_no_place_for_progress(tmp_path: Path) -> None:
    with (tmp_path / "o.txt").open("w") as stdout, os.fdopen(os.dup(stdout.fileno()), "w") as stderr:
        assert place_of(stdout, stderr) is Place.UNKNOWN


def read_until(descriptor: int, words: bytes) -> bytes:
    content = b""
    while words not in content:
        content += os.read(descriptor, 4096)
    return content


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "1 / 0", "os.kill(os.getpid(), {number})"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_echo_is_off_inside_and_back_whatever_ends_it(end: str, number: signal.Signals) -> None:
    code = HELD.format(end=end.format(number=int(number)))
    process, master = pty.fork()
    if process == 0:
        signal.signal(number, signal.SIG_DFL)  # under nohup it would be ignored
        os.execv(sys.executable, [sys.executable, "-c", code])  # noqa: S606
    read_until(master, b"begun")
    os.write(master, b"typed\n")
    assert b"typed" not in read_until(master, b"done")
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) == ("kill" in end)
    assert termios.tcgetattr(master)[3] & termios.ECHO
    os.close(master)
