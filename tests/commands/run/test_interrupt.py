"""Ctrl-C in a real process with a real signal, and many runs in a row."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from vita_demo.callbacks.builtin import FileCallback, PerformanceCallback, TraceCallback
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request

MARK = """
import sys
class Mark:
    def on_generation_start(self, input_ids, **kwargs):
        print("PREFILL", file=sys.stderr, flush=True)
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vita_demo", "--device", "cpu", "--max_new_tokens", "20000", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# A model that would like to end must go on, so that there is something to interrupt.
ENDLESS = ("--question", "hi", "--streaming", "--min_new_tokens", "20000")


def wait_for_prefill(process: subprocess.Popen[str]) -> None:
    while "PREFILL" not in process.stderr.readline():
        assert process.poll() is None


def test_the_first_interrupt_in_decode_keeps_what_there_is() -> None:
    process = start(*ENDLESS)
    begun = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (begun + out).endswith("\n")
    assert "finished by cancelled" in err
    assert "Traceback" not in err


@pytest.fixture
def long_prefill(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "mark.py").write_text(MARK)
    return ("--question", "the model " * 10_000, "--callback", f"{tmp_path}/mark.py:Mark")


def test_the_first_interrupt_in_prefill_ends_after_the_first_token(long_prefill: tuple[str, ...]) -> None:
    process = start(*long_prefill, "--json")
    wait_for_prefill(process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert '"finish_reason": "cancelled"' in out


def test_the_second_interrupt_exits_130(long_prefill: tuple[str, ...]) -> None:
    process = start(*long_prefill)
    wait_for_prefill(process)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_has_gone_ends_the_run_quietly() -> None:
    process = start(*ENDLESS)
    process.stdout.read(5)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_a_thousand_runs_leave_nothing_behind(embedded_pipeline, tmp_path: Path) -> None:
    # So many short runs are quickest on one thread, also where others use the machine.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
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
    torch.set_num_threads(before)
    assert threads_after == threads
    assert files_after == files
    assert memory_after - memory < 16 << 20
