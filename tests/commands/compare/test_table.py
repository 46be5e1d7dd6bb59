"""The table shows as many columns as its console holds."""

from dataclasses import replace

import pytest
from rich.console import Console as RichConsole
from rich.text import Text

from tests.commands.compare.fakes import make_comparison
from vita_demo.commands.compare.record import Difference
from vita_demo.commands.compare.table import print_comparison

ALL = ["TTFT", "TTFT, text", "TPOT", "decode", "end to end", "total", "peak memory"]
FEWER = ["TTFT", "TPOT", "decode", "total", "peak memory"]


@pytest.mark.parametrize(("width", "heads"), [(120, ALL), (80, FEWER), (44, ["TTFT", "TPOT", "total"])])
def test_the_table_fits_its_console(width: int, heads: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    comparison = make_comparison(blocking=(1.0, 2.0), iterator=(3.0, 4.0))
    print_comparison(comparison, RichConsole(width=width, force_terminal=True, highlight=False))
    lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == " ".join(heads).split()
    (row,) = (line for line in lines if line.startswith("iterator"))
    assert "3.50 ×2.33" in row
    assert row.count("×") == len(heads) - (width == 120)  # no text was visible


def test_a_pipe_gets_all_columns_and_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    difference = Difference("iterator", 1, "blocking", 7, 1, 2, "ours", "theirs")
    print_comparison(replace(make_comparison(blocking=(1.0,), iterator=(3.0,)), difference=difference))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines()[0].split() == " ".join(ALL).split()
    verdict = "iterator differs from blocking in run 1 at step 7: id 1 in …'ours' instead of id 2 in …'theirs'"
    assert f"✗ {verdict}\n" in out
    assert "minimum" not in out
    assert len(out.split("\n\n")[0].splitlines()) == 5, "two lines of head, a rule, and one for each mode"
