"""Statistics, table cells and sentences follow from the runs."""

from dataclasses import replace

import pytest

from tests.commands.compare.fakes import make_comparison, make_run
from vita_demo.commands.compare.record import METRICS, Difference, stages_s, token_times_s

TOTAL = next(metric for metric in METRICS if metric.name == "total_s")
TEXT = next(metric for metric in METRICS if metric.name == "ttft_text_s")


def test_statistics_follow_from_the_runs() -> None:
    comparison = make_comparison(iterator=(4.0, 2.0), blocking=(1.0, 8.0, 2.0))
    iterator, blocking = comparison.modes
    assert comparison.baseline is blocking
    spread = comparison.spread(iterator, "total_s")
    assert (spread.median, spread.minimum, spread.maximum, spread.ratio) == (3.0, 2.0, 4.0, 1.5)
    assert comparison.spread(blocking, "total_s").ratio == 1.0
    assert comparison.spread(blocking, "tpot_s").median == 0.5
    assert comparison.spread(blocking, "decode_tps").median == 2.0
    assert comparison.spread(blocking, "ttft_text_s") is None
    assert blocking.typical_run.stats.total_s == 2.0
    assert token_times_s(blocking.typical_run.stats) == (1.0, 1.5, 2.0)


def test_the_stages_of_a_run_add_up_to_its_total() -> None:
    stats = make_run(2.0).stats
    stats = replace(stats, stages={**stats.stages, "decode": 0.8, "callbacks": 0.3})
    assert stages_s(stats) == pytest.approx(
        {"media": 0.2, "vision": 0, "audio": 0, "prefill": 0.8, "decode": 0.5, "callbacks": 0.3, "other": 0.2}
    )
    assert sum(stages_s(stats).values()) == pytest.approx(2.0)


def test_the_first_mode_is_the_baseline_where_blocking_did_not_run() -> None:
    comparison = make_comparison(streaming=(2.0,), iterator=(3.0,))
    assert comparison.spread(comparison.modes[1], "total_s").ratio == 1.5


def test_a_cell_has_median_ratio_and_span() -> None:
    comparison = make_comparison(blocking=(1.0, 2.0), iterator=(3.0, 3.0))
    blocking, iterator = comparison.modes
    assert comparison.cell(blocking, TOTAL) == ("1.50", "", "1.00–2.00")
    assert comparison.cell(iterator, TOTAL) == ("3.00", "×2.00", "3.00")
    assert comparison.cell(blocking, TEXT) == ("–", "", "")


def test_a_single_run_has_no_span() -> None:
    comparison = make_comparison(blocking=(1.0,), iterator=(3.0,))
    assert comparison.cell(comparison.modes[1], TOTAL) == ("3.00", "×3.00", "")
    assert comparison.conditions[0].startswith("1 run of each mode,")
    assert make_comparison(blocking=(1.0, 2.0)).conditions[0].startswith("2 runs of each mode,")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0456, "0.046"), (0.99951, "1.000"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert TOTAL.write(value) == text


@pytest.mark.parametrize(("load", "busy"), [(None, False), (0.0, False), (1.0, False), (1.5, True)])
def test_a_busy_machine_is_reported(load: float | None, busy: bool) -> None:
    comparison = make_comparison(blocking=(1.0,))
    comparison = replace(comparison, host={**comparison.host, "load_average": load})
    assert ("1.5 of 2 cores busy" in comparison.warning) is busy
    assert bool(comparison.warning) is busy


def test_the_verdict_counts_runs_or_names_the_difference() -> None:
    comparison = make_comparison(blocking=(1.0, 2.0), iterator=(3.0, 4.0))
    assert comparison.verdict == "all 4 runs in 2 modes gave the same 3 token ids and the same text"
    difference = Difference("iterator", 2, "blocking", 7, 1, None, "ours", "theirs")
    assert replace(comparison, difference=difference).verdict == (
        "iterator differs from blocking in run 2 at step 7: id 1 in …'ours' instead of no token in …'theirs'"
    )
