"""The forms of an answer, away from a terminal and on one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pyte
import pytest

from tests.conftest import ASSETS, Run

Vita = Callable[..., Run]


ASK = ("--question", "Describe this image.", "--image_path", ASSETS / "scene.png", "--max_new_tokens", 12)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float32_on_the_cpu")]


def read_all(descriptor: int) -> bytes:
    content = b""
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:
            return content
        if not block:
            return content
        content += block


def test_jsonl_is_one_event_a_line_and_the_report_last(vita: Vita) -> None:
    lines = [json.loads(line) for line in vita(*ASK, "--jsonl").out.splitlines()]
    assert [line["event"] for line in lines] == ["token"] * 12 + ["end", "answer"]
    assert "".join(line["text"] for line in lines[:13]) == lines[-1]["text"]
    assert [line["id"] for line in lines[:12]] == lines[-1]["token_ids"]


def test_markdown_is_left_alone_away_from_a_terminal(vita: Vita) -> None:
    assert vita(*ASK, "--markdown").out == vita(*ASK).out


def test_two_forms_at_once_are_refused(vita: Vita) -> None:
    run = vita(*ASK, "--json", "--jsonl")
    assert "choose one form" in run.error
    assert run.code == 2


def test_quiet_says_nothing_and_verbose_says_more(vita: Vita) -> None:
    assert vita(*ASK, "--quiet").err == ""
    err = vita(*ASK, "--verbose").err
    assert "vision settings:" in err
    assert "float32 on cpu" in err


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_gets_on_stdout_the_answer_and_a_line_end_and_nothing_else(vita: Vita) -> None:
    import pty
    import threading

    expected = vita(*ASK).out.replace("\n", "\r\n").encode()
    pairs = [pty.openpty(), pty.openpty()]
    command = [sys.executable, "-m", "vita_demo", *map(str, ASK), "--streaming", "--enable_callbacks"]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdout=pairs[0][1], stderr=pairs[1][1], env=environment)
    contents: list[bytes] = [b"", b""]

    def read(number: int) -> None:
        contents[number] = read_all(pairs[number][0])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    assert process.wait() == 0
    for _, slave in pairs:
        os.close(slave)
    for thread in threads:
        thread.join()
    for master, _ in pairs:
        os.close(master)
    assert contents[0] == expected
    assert b"tokens of" in contents[1] or b"of at most 12 tokens" in contents[1]
    assert b"finished by length" in contents[1]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("stdout", ["terminal", "pipe"])
def test_a_terminal_shows_the_answer_and_the_panel_and_no_remains(vita: Vita, stdout: str) -> None:
    import pty

    answer = vita(*ASK).out.strip()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "vita_demo", *map(str, ASK), "--streaming", "--enable_callbacks"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    tee = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=slave) if stdout == "pipe" else None
    target = slave if tee is None else tee.stdin
    process = subprocess.Popen(command, stdout=target, stderr=slave, env=environment)
    os.close(slave)
    if tee is not None:
        tee.stdin.close()
    screen = pyte.Screen(80, 50)
    pyte.ByteStream(screen).feed(read_all(master))
    assert process.wait() == 0
    assert tee is None or tee.wait() == 0
    os.close(master)
    lines = [line.rstrip() for line in screen.display]
    start = next(number for number, line in enumerate(lines) if line.startswith("image scene.png"))
    panel = next(number for number, line in enumerate(lines) if line.startswith("╭"))
    assert lines[start + 1 : panel] == [answer]
    assert not {word for word in ("looking at", "importing", "of at most") if word in "\n".join(lines)}
