"""The definitions of the table in docs/metrics.md, on invented times."""

from dataclasses import replace

import pytest

from vita_demo.metrics import RunRecorder


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def record(clock: Clock, token_times: list[float], **values: bool) -> RunRecorder:
    recorder = RunRecorder(clock, **values)
    clock.now = 101.0
    recorder.begin_model()
    with recorder.stage("vision"):
        clock.now = 101.5
    recorder.begin_prefill()
    for number, time_s in enumerate(token_times):
        recorder.token(time_s, has_text=number > 0)
    return recorder


def test_prefill_and_decode_are_never_mixed(clock: Clock) -> None:
    stats = record(clock, [102.0, 102.1, 102.3, 102.4]).finish(prompt_positions=50, end=102.5)
    assert stats.ttft_s == pytest.approx(2.0)
    assert stats.ttft_model_s == pytest.approx(1.0)
    assert stats.ttft_text_s == pytest.approx(2.1)
    assert stats.prefill_tps == pytest.approx(50 / 0.5)
    assert stats.decode_tps == pytest.approx(3 / 0.4)
    assert stats.tpot_s == pytest.approx(0.4 / 3)
    assert stats.e2e_tps == pytest.approx(4 / 2.5)
    assert stats.stages == pytest.approx({"vision": 0.5, "prefill": 0.5, "decode": 0.4})
    assert stats.itl_s == pytest.approx({"p50": 0.1, "p90": 0.18, "p99": 0.198, "max": 0.2})


@pytest.mark.parametrize(
    ("decode_s", "callbacks_s", "shown_s"), [(3.0, 1.0, 2.0), (1.0, 1.5, 0.0)], ids=["within", "longer by the clock"]
)
def test_stages_without_overlap_count_callbacks_once(
    clock: Clock, decode_s: float, callbacks_s: float, shown_s: float
) -> None:
    stats = record(clock, [102.0, 102.0 + decode_s]).finish(prompt_positions=50, end=110.0)
    extra = {"load": 9.0, "compile": 2.0, "callbacks": callbacks_s}
    stages = replace(stats, stages={**stats.stages, **extra}).stages_without_overlap
    expected = {"media": 0.0, "vision": 0.5, "audio": 0.0, "prefill": 0.5, "decode": shown_s, "callbacks": callbacks_s}
    assert stages == pytest.approx(expected)
    assert [*stages] == [*expected]


@pytest.mark.parametrize("times", [[], [102.0]])
def test_rates_that_need_two_tokens_are_null_without_them(clock: Clock, times: list[float]) -> None:
    stats = record(clock, times).finish(prompt_positions=50, end=103.0)
    assert stats.tpot_s is None
    assert stats.decode_tps is None
    assert stats.itl_s is None
    assert (stats.ttft_s is None) == (not times)
    assert stats.total_s == pytest.approx(3.0)


def test_media_read_before_the_request_count_as_read_after_it(clock: Clock) -> None:
    recorder = RunRecorder(clock)
    recorder.add_stage("load", 9.0)
    recorder.add_stage("media", 0.25, since_t0=True)
    recorder.begin_prefill()
    recorder.token(101.0, has_text=True)
    stats = recorder.finish(prompt_positions=1, end=101.0)
    assert stats.ttft_s == pytest.approx(1.25)
    assert stats.total_s == pytest.approx(1.25)


def test_a_stage_waits_for_the_device(clock: Clock) -> None:
    def wait() -> None:
        clock.now += 2.0

    recorder = RunRecorder(clock, synchronize=wait)
    with recorder.stage("audio"):
        pass
    assert recorder.stages["audio"] == 2.0


def test_tokens_that_come_at_once_make_no_rates(clock: Clock) -> None:
    recorder = record(clock, [102.0, 102.0, 102.0], tokens_timed=False)
    stats = recorder.finish(prompt_positions=50, end=102.0)
    assert (stats.tokens, stats.decode_tps, stats.prefill_tps, stats.tpot_s) == (3, None, None, None)
    assert stats.stages["decode"] == pytest.approx(0.5)
