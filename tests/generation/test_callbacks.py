"""The rules of callbacks, each broken on purpose."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generation.fakes import Spy, watched
from vita_demo.callbacks.builtin import FileCallback, MemoryCallback, ProgressCallback, TraceCallback
from vita_demo.callbacks.registry import BUILTIN, describe, make_callback
from vita_demo.errors import ConfigError
from vita_demo.generation.callbacks import GenerationCallback, GenerationControl
from vita_demo.generation.events import Event, Sampled
from vita_demo.generation.options import GenerationOptions

HOOKS = ["on_generation_start", "on_token_generated", "on_generation_end", "on_generation_error"]


def run(
    callbacks: list[GenerationCallback],
    ids: Any = b"hello",
    report: Callable[[str], None] = lambda _: None,
    strict: bool = False,
) -> Iterator[Event]:
    options = GenerationOptions(max_new_tokens=5)
    return watched(map(Sampled, ids), options, callbacks, strict=strict, report=report, input_ids=[7, 8], positions=2)


def ending(spy: Spy) -> list[str]:
    return [call for call in spy.calls if call.startswith("on_generation_e")]


def test_start_tokens_in_order_end() -> None:
    spy = Spy()
    *_, end = run([spy])
    tokens = [f"on_token_generated {step}" for step in range(5)]
    assert spy.calls == ["on_generation_start", *tokens, "on_generation_end length"]
    assert spy.text == "hello"
    assert end.answer.stats.tokens == 5


@pytest.mark.parametrize(
    ("control", "reason"), [(GenerationControl.STOP, "stop"), (GenerationControl.CANCEL, "cancelled")]
)
def test_a_callback_can_end_the_answer(control: GenerationControl, reason: str) -> None:
    spy, other = Spy(control=control), Spy()
    events = list(run([spy, other]))
    assert events[-1].finish_reason == reason
    assert len(events) == 4
    assert ending(spy) == ending(other) == [f"on_generation_end {reason}"]


@pytest.mark.parametrize("hook", HOOKS[:3])
def test_a_callback_that_raises_is_reported_once_and_dropped(hook: str) -> None:
    bad, good, lines = Spy(fail_in=hook), Spy(), []
    events = list(run([bad, good], report=lines.append))
    assert "".join(event.text for event in events) == "hello"
    assert len(lines) == 1
    assert "Spy raised ValueError" in lines[0]
    assert hook in lines[0]
    assert sum(hook in call for call in bad.calls) == 1
    assert len(good.calls) == 7


@pytest.mark.parametrize("hook", HOOKS[:3])
def test_strict_raises_instead(hook: str) -> None:
    bad, good = Spy(fail_in=hook), Spy()
    with pytest.raises(ValueError, match="on purpose"):
        list(run([good, bad], strict=True))
    assert len([call for call in good.calls if call.startswith("on_generation_end")]) == 1


def test_an_error_of_the_model_runs_the_error_hook_and_then_the_end() -> None:
    def broken() -> Iterator[int]:
        yield from b"ab"
        raise RuntimeError("model broke")

    spy = Spy()
    with pytest.raises(RuntimeError, match="model broke"):
        list(run([spy], broken()))
    assert ending(spy) == ["on_generation_error model broke", "on_generation_end error"]


def test_a_reader_that_stops_reading_ends_the_generation() -> None:
    spy = Spy()
    events = run([spy])
    next(events)
    events.close()
    assert ending(spy) == ["on_generation_end cancelled"]


def test_hooks_may_be_missing_in_foreign_classes() -> None:
    class Foreign:
        def on_token_generated(self, token_id: int, token_text: str, step: int, **_: Any) -> None:
            seen.append(step)

    seen: list[int] = []
    list(run([Foreign()]))  # type: ignore[list-item]
    assert seen == [0, 1, 2, 3, 4]


def test_file_holds_the_answer_after_every_token(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    events = run([FileCallback(str(path))], "aé中".encode()[:5])
    sizes = [len(path.read_bytes()) for event in events if event.finish_reason is None]
    assert sizes == [1, 1, 3, 3, 6]
    assert path.read_text() == "aé\ufffd"


def test_trace_writes_a_line_for_each_token(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    list(run([TraceCallback(str(path))]))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(5))
    assert "".join(line["text"] for line in lines) == "hello"
    assert [line["time_s"] for line in lines] == sorted(line["time_s"] for line in lines)


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


def test_callbacks_by_name_with_options(tmp_path: Path) -> None:
    trace = make_callback(f"trace:path={tmp_path}/x,top=3")
    assert (trace.path, trace.top_logprobs) == (tmp_path / "x", 3)
    assert make_callback("progress", {"max_tokens": 7, "tokenizer": None}).max_tokens == 7
    assert make_callback("progress:max_tokens=3", {"max_tokens": 7}).max_tokens == 3
    assert isinstance(make_callback("vita_demo.generation.callbacks:GenerationCallback"), GenerationCallback)
    mine = tmp_path / "mine.py"
    mine.write_text("class Mine:\n    def __init__(self, level: int = 1): self.level = level\n")
    assert make_callback(f"{mine}:Mine:level=5").level == 5


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("prgress", "did you mean progress"),
        ("qqq", "give logging, progress"),
        ("trace:tpo=3", "known: path, top"),
        ("trace:top=many", "top=many must be a number"),
        ("logging:level=loud", "cannot be made"),
        ("no.such.module:X", "cannot be imported"),
        ("vita_demo.metrics:Nothing", "has no Nothing"),
        ("vita_demo.metrics:SCHEMA_VERSION", "is no class"),
        ("./gone.py:X", "cannot be imported"),
    ],
)
def test_mistakes_in_names_are_answered_in_one_line(spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_callback(spec)


def test_the_list_names_every_callback_and_option() -> None:
    text = describe()
    assert all(name in text for name in BUILTIN)
    assert "top=0" in text
