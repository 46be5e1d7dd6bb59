"""Ctrl-C in a real process with a real signal, and many runs in a row.

No wait here has a limit of its own: pytest's ends a test that hangs.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vita_demo.callbacks.builtin import FileCallback, PerformanceCallback, TraceCallback
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request

# A prefill that says so and lasts until Ctrl-C arrives, so that the order is the same on every machine.
HELD = """
import sys, time
from vita_demo.cli import main
from vita_demo.generation.stopping import StopSignal
from vita_demo.model.decode.decoder import Decoder
prefill, request, requested = Decoder.prefill, StopSignal.request, []
def held_prefill(self, *args):
    print("PREFILL", file=sys.stderr, flush=True)
    while not requested:
        time.sleep(0.01)
    return prefill(self, *args)
def noted_request(self, *args):
    request(self, *args)
    requested.append(args)
    print("REQUESTED", file=sys.stderr, flush=True)
Decoder.prefill, StopSignal.request = held_prefill, noted_request
main()
"""
ENDLESS_PREFILL = HELD.replace("while not requested:", "while True:")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command in a process of its own; what still runs in the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str, program: tuple[str, ...] = ("-m", "vita_demo")) -> subprocess.Popen[str]:
        command = [sys.executable, *program, "--device", "cpu", "--max_new_tokens", "20000", *arguments]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        with process:  # closes its pipes and waits
            pass


# A model that would like to end must go on, so that there is something to interrupt.
ENDLESS = ("--question", "hi", "--streaming", "--min_new_tokens", "20000")


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    while words not in (line := process.stderr.readline()):
        assert line, f"ended without {words}"


def test_the_first_interrupt_in_decode_keeps_what_there_is(start: Start) -> None:
    process = start(*ENDLESS)
    begun = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 0
    assert (begun + out).endswith("\n")
    assert "finished by cancelled" in err
    assert "Traceback" not in err


def test_the_first_interrupt_in_prefill_ends_after_the_first_token(start: Start) -> None:
    process = start("--question", "hi", "--json", program=("-c", HELD))
    wait_for(process, "PREFILL")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 0
    report = json.loads(out)
    assert report["finish_reason"] == "cancelled"
    assert len(report["token_ids"]) == 1


def test_the_second_interrupt_exits_130(start: Start) -> None:
    process = start("--question", "hi", program=("-c", ENDLESS_PREFILL))
    wait_for(process, "PREFILL")
    process.send_signal(signal.SIGINT)
    wait_for(process, "REQUESTED")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_has_gone_ends_the_run_quietly(start: Start) -> None:
    process = start(*ENDLESS)
    process.stdout.read(5)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait() == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_a_thousand_runs_leave_nothing_behind(embedded_pipeline, tmp_path: Path) -> None:
    request, options = Request(question="hi"), GenerationOptions(max_new_tokens=2)

    def run(count: int) -> tuple[int, int, int]:
        for number in range(count):
            callbacks = [FileCallback(f"{tmp_path}/a"), TraceCallback(f"{tmp_path}/t"), PerformanceCallback()]
            if number % 2:
                list(embedded_pipeline.iterate(request, options, callbacks=callbacks))
            else:
                embedded_pipeline.generate(request, options, callbacks=callbacks)
        gc.collect()
        return threading.active_count(), len([*Path("/proc/self/fd").iterdir()]), resident_bytes()

    threads, files, memory = run(100)
    threads_after, files_after, memory_after = run(1000)
    assert threads_after == threads
    assert files_after == files
    assert memory_after - memory < 16 << 20
