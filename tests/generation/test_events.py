"""One stream of events, and every way in which it ends."""

from collections.abc import Iterable, Iterator

import pytest

from tests.generation.fakes import ByteTokenizer, stream_events
from vita_demo.generation.events import Event, Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal


def collect(ids: Iterable[int], **options: object) -> tuple[list[Event], Event]:
    *tokens, end = stream_events(map(Sampled, ids), ByteTokenizer(), GenerationOptions(**options))
    assert end.finish_reason
    assert not any(event.finish_reason for event in tokens)
    return tokens, end


def text_of(tokens: list[Event], end: Event) -> str:
    return "".join(event.text for event in tokens) + end.text


def test_the_state_token_is_told_apart_and_no_part_of_the_text() -> None:
    tokens, end = collect(b"\x01Hi\x01!\x00")
    assert [event.state for event in tokens] == ["speech", None, None, None, None, None]
    assert text_of(tokens, end) == "Hi!"
    assert [event.step for event in tokens] == list(range(6))
    assert end.finish_reason == "stop"


def test_a_stop_token_ends_the_answer_and_nothing_more_is_asked_for() -> None:
    def ids() -> Iterator[int]:
        yield from b"ab\x00"
        raise AssertionError("asked for more")

    tokens, end = collect(ids())
    assert [event.token_id for event in tokens] == list(b"ab\x00")
    assert (text_of(tokens, end), end.finish_reason) == ("ab", "stop")


def test_further_stop_ids_count() -> None:
    assert collect(b"abc", stop_token_ids=(98,))[1].finish_reason == "stop"


def test_length_ends_the_answer_with_the_text_of_its_tokens() -> None:
    tokens, end = collect("a中".encode(), max_new_tokens=3)
    assert (text_of(tokens, end), end.finish_reason) == ("a\ufffd", "length")
    assert tokens[-1].text == "\ufffd"
    assert end.text == ""


def test_a_stop_string_ends_the_answer_before_itself() -> None:
    tokens, end = collect(b"one. two. three", stop_strings=(". t",))
    assert (text_of(tokens, end), end.finish_reason) == ("one", "stop")
    assert len(tokens) == len("one. t")


def test_text_held_for_a_stop_string_comes_with_the_last_token() -> None:
    tokens, end = collect(b"ab<\x00", stop_strings=("<end>",))
    assert text_of(tokens, end) == "ab<"
    assert tokens[-1].text == "<"


@pytest.mark.parametrize("reason", ["cancelled", "stop", "timeout"])
def test_a_signal_ends_the_answer_after_the_current_token(reason: str) -> None:
    signal = StopSignal()
    events = stream_events(map(Sampled, b"a<b"), ByteTokenizer(), GenerationOptions(stop_strings=("<end>",)), signal)
    assert next(events).text == "a"
    assert next(events).text == ""
    signal.request(reason)
    end = next(events)
    assert (end.finish_reason, end.text) == (reason, "<")
    assert list(events) == []


def test_the_time_limit_ends_the_answer() -> None:
    times = iter(range(100))
    events = list(
        stream_events(
            map(Sampled, b"abcdefgh"), ByteTokenizer(), GenerationOptions(time_limit_s=3), clock=lambda: next(times)
        )
    )
    assert len(events) == 4
    assert events[-1].finish_reason == "timeout"


def test_closing_the_events_closes_their_source() -> None:
    closed = []

    def tokens() -> Iterator[Sampled]:
        try:
            yield from map(Sampled, b"abc")
        finally:
            closed.append(True)

    events = stream_events(tokens(), ByteTokenizer(), GenerationOptions())
    next(events)
    events.close()
    assert closed


def test_text_held_back_goes_with_the_last_token_of_a_timeout() -> None:
    tokens, end = collect(b"ab<", stop_strings=("<end>",), time_limit_s=1e-9)
    assert (tokens[-1].text, end.text, end.finish_reason) == ("a", "", "timeout")
    times = iter([0.0, 0.1, 0.2, 9.0, 9.0, 9.0])
    options = GenerationOptions(stop_strings=("<end>",), time_limit_s=5.0)
    *tokens, end = stream_events(map(Sampled, b"ab<end>"), ByteTokenizer(), options, clock=lambda: next(times))
    assert ([event.text for event in tokens], end.text, end.finish_reason) == (["a", "b", "<"], "", "timeout")


def test_what_ends_the_search_of_beams_keeps_all_tokens_of_the_best() -> None:
    tokens, end = collect(b"abc", num_beams=2, time_limit_s=1e-9)
    assert (len(tokens), end.finish_reason) == (3, "timeout")
    signal = StopSignal()
    signal.request("cancelled")
    *tokens, end = stream_events(map(Sampled, b"abc"), ByteTokenizer(), GenerationOptions(num_beams=2), signal)
    assert (len(tokens), end.finish_reason) == (3, "cancelled")


def test_a_reader_may_end_the_answer_of_the_best_beam() -> None:
    signal, seen = StopSignal(), []
    for event in stream_events(map(Sampled, b"abc"), ByteTokenizer(), GenerationOptions(num_beams=2), signal):
        seen.append(event)
        if event.step == 1:
            signal.request("stop")
    assert ([event.token_id for event in seen], seen[-1].finish_reason) == ([97, 98, None], "stop")
