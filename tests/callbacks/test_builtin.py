"""The callbacks that ship."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.generation.fakes import watched
from vita_demo.callbacks.builtin import FileCallback, MemoryCallback, ProgressCallback, TraceCallback
from vita_demo.generation.callbacks import GenerationCallback, GenerationControl
from vita_demo.generation.events import Event, Sampled
from vita_demo.generation.options import GenerationOptions

HELLO = [Sampled(token_id) for token_id in b"hello"]


def run(
    callbacks: list[GenerationCallback],
    tokens: Iterable[Sampled] = HELLO,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Event]:
    return watched(tokens, GenerationOptions(max_new_tokens=5), callbacks, report=report)


def test_file_holds_the_answer_after_every_token(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    events = run([FileCallback(str(path))], map(Sampled, "aé中".encode()[:5]))
    sizes = [len(path.read_bytes()) for event in events if event.finish_reason is None]
    assert sizes == [1, 1, 3, 3, 6]
    assert path.read_text() == "aé\ufffd"


def test_the_file_gets_what_a_stop_string_held_back(tmp_path: Path) -> None:
    class StopAt(GenerationCallback):
        def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> Any:
            return GenerationControl.CANCEL if step == 3 else None

    path = tmp_path / "a.txt"
    options = GenerationOptions(stop_strings=("ello!",))
    *_, end = watched(HELLO, options, [FileCallback(str(path)), StopAt(), TraceCallback(str(tmp_path / "t"))])
    assert path.read_text() == end.answer.text == "hell"


PRINTING = """
import sys
from tests.conftest import ROOT
from tests.generation.fakes import watched
from vita_demo.callbacks.builtin import LoggingCallback, MemoryCallback, PerformanceCallback
from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions
callbacks = [LoggingCallback(every=2), PerformanceCallback(), MemoryCallback()]
list(watched(map(Sampled, b"hello"), GenerationOptions(max_new_tokens=5), callbacks))
"""


def test_programs_that_set_no_logging_up_are_not_mute() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTING], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == ""
    for words in (
        "generation starts after a prompt",
        "token 2: 'he'",
        "ends after 5 tokens",
        "decode 5",
        "memory: host",
    ):
        assert words in done.stderr


def test_a_bar_takes_the_length_by_either_name() -> None:
    assert ProgressCallback(max_new_tokens=7).max_tokens == ProgressCallback(7).max_tokens == 7


def test_trace_holds_a_line_for_each_token_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for event in run([TraceCallback(str(path))]):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == event.step + (event.finish_reason is None)
    assert [line["step"] for line in lines] == list(range(5))
    assert "".join(line["text"] for line in lines) == "hello"
    assert [line["time_s"] for line in lines] == sorted(line["time_s"] for line in lines)
    assert set(lines[0]) == {"step", "id", "text", "time_s", "logprob"}


def test_trace_writes_the_likeliest_alternatives(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    token = Sampled(104, -0.25, ((104, -0.25), (105, -1.5)))
    list(run([TraceCallback(str(path), top=2)], [token]))
    (line,) = map(json.loads, path.read_text().splitlines())
    assert line["logprob"] == -0.25
    assert line["alternatives"] == [{"id": 104, "logprob": -0.25}, {"id": 105, "logprob": -1.5}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("kind", [FileCallback, TraceCallback])
def test_a_full_disk_costs_the_file_and_not_the_answer(kind: type) -> None:
    lines: list[str] = []
    events = list(run([kind("/dev/full")], report=lines.append))
    assert "".join(event.text for event in events) == "hello"
    assert len(lines) == 1
    assert "No space left" in lines[0]


def test_a_path_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    list(run([FileCallback(str(tmp_path / "no" / "a.txt"))], report=lines.append))
    assert "No such file" in lines[0]


def test_progress_moves_at_most_ten_times_a_second_and_ends_at_the_count() -> None:
    class Display:
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def start(self, total: int) -> None:
            self.calls.append(("start", total))

        def advance(self, done: int) -> None:
            self.calls.append(done)

        def stop(self) -> None:
            self.calls.append("stop")

    display = Display()
    list(run([ProgressCallback(9, display)]))
    assert display.calls == [("start", 9), 1, 5, "stop"]


def test_memory_looks_at_start_now_and_then_and_at_the_end() -> None:
    memory = MemoryCallback(every=2)
    list(run([memory]))
    assert [step for step, *_ in memory.samples] == [0, 2, 4, 5]
    assert memory.peak_bytes[0] >= memory.samples[0][1] > 0
