"""The rules of callbacks, each broken on purpose."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.generation.fakes import Spy, watched
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
