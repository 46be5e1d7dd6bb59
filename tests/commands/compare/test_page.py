"""The page is well-formed, needs no other file, and draws what the runs took."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.commands.compare.fakes import make_comparison, make_run
from vita_demo.commands.compare.page import Axis, render_page
from vita_demo.commands.compare.record import Comparison, Difference, ModeResult


class Page(HTMLParser):
    """Collects a page's references, tags and words, and checks that its elements are closed in order."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.text = render_page(comparison)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self.feed(self.text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_no_other_file_and_escapes_its_texts() -> None:
    page = Page(make_comparison(blocking=(1.0, 2.0), iterator=(3.0, 4.0)))
    assert page.references == []
    assert not any(word in page.text for word in ("http://", "https://", "@import", "url(", "<script"))
    assert 'name="viewport"' in page.text
    assert "color-scheme: light dark" in page.text
    assert "What <b>is</b> this?" in page.words
    assert "a&b.png" in page.words
    assert "✓ all 4 runs in 2 modes gave the same 3 token ids" in page.words


def test_tokens_are_drawn_over_time() -> None:
    page = Page(make_comparison(blocking=(1.0,), iterator=(4.0,)))
    points = dict(re.findall('<polyline class="(.*?)" points="(.*?)"', page.text))
    axis = Axis(4.0, 40, 426)
    for name, times_s in {"blocking": (0.5, 0.75, 1.0), "iterator": (2.0, 3.0, 4.0)}.items():
        assert [float(point.split(",")[0]) for point in points[name].split()] == [axis(time_s) for time_s in times_s]
    heights = [float(point.split(",")[1]) for point in points["iterator"].split()]
    assert heights == sorted(heights, reverse=True)
    assert f'<line class="blocking" x1="{axis(1.0)}"' in page.text


def test_a_long_answer_is_thinned_but_keeps_its_end() -> None:
    run = make_run(1.0)
    run = replace(run, stats=replace(run.stats, tokens=1001, token_gaps_s=[0.0005] * 1000))
    comparison = replace(make_comparison(iterator=(1.0,)), modes=(ModeResult("iterator", (run,)),))
    points = re.search('points="(.*?)"', Page(comparison).text)[1].split()
    assert 150 < len(points) <= 202
    assert points[-1].startswith("426.0,")
    assert "blocking shows its text here" not in Page(comparison).words


def test_stages_are_bars_in_proportion_to_their_seconds() -> None:
    page = Page(make_comparison(blocking=(1.0,), iterator=(4.0,)))
    widths = re.findall('<i class="(.*?)" style="width: (.*?)%" title="(.*?)">', page.text)
    expected = [("media", 2, 0.1), ("prefill", 8, 0.4), ("decode", 10, 0.5),
                ("media", 8, 0.4), ("prefill", 32, 1.6), ("decode", 40, 2.0)]  # fmt: skip
    assert [name for name, *_ in widths] == [name for name, *_ in expected]
    assert [float(width) for _, width, _ in widths] == pytest.approx([width for _, width, _ in expected])
    assert [title for *_, title in widths] == [f"{name} {seconds:.3f} s" for name, _, seconds in expected]


def test_the_page_reports_a_difference_and_a_busy_machine() -> None:
    difference = Difference("iterator", 2, "blocking", 7, 1, 2, "<i>ours", "theirs")
    comparison = make_comparison(blocking=(1.0,), iterator=(1.0,))
    host = {**comparison.host, "load_average": 1.7}
    page = Page(replace(comparison, difference=difference, host=host))
    assert "✗ iterator differs from blocking in run 2 at step 7: id 1 in …'<i>ours'" in page.words
    assert "1.7 of 2 cores busy" in page.words
