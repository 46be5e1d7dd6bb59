"""The panel says what a run took, at any width."""

import io

import pytest
from rich.console import Console as RichConsole

from vita_demo.answer import Answer, PromptSummary
from vita_demo.console.run_panel import render, sparkline
from vita_demo.metrics import RunStats

STATS = RunStats(
    stages={"load": 3.0, "media": 0.2, "vision": 0.1, "prefill": 0.3, "decode": 0.9, "callbacks": 0.1},
    prompt_positions=500,
    tokens=10,
    ttft_s=0.6,
    ttft_model_s=0.4,
    ttft_text_s=0.6,
    total_s=1.5,
    token_gaps_s=[0.1] * 9,
    peak_memory_bytes=3 * 10**9,
)


def drawn(answer: Answer, width: int) -> list[str]:
    rich = RichConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    rich.print(render(answer, width))
    return rich.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_panel_fits_its_terminal_and_says_what_the_numbers_are(width: int) -> None:
    prompt = PromptSummary(500, image_tokens=256, audio_tokens=44)
    lines = drawn(Answer("", (), "stop", "noise", prompt, STATS), width)
    assert {len(line) for line in lines} == {min(width, 110)}
    text = " ".join(" ".join(lines).replace("│", " ").split())
    for words in ("0.60 s", "500 positions at 1,667/s", "10 tokens at 10.0/s", "200 text + 256 image + 44 audio → 10",
                  "3.00 GB", "query judged: noise", "finished by stop"):  # fmt: skip
        assert words in text
    for stage in ("media 0.200 s", "vision 0.100 s", "prefill 0.300 s", "decode 0.800 s", "callbacks 0.100 s"):
        assert sum(f"■ {stage}" in line for line in lines) == 1
    assert "load" not in text


def test_a_run_without_tokens_still_has_a_panel() -> None:
    empty = RunStats(prompt_positions=5, total_s=0.1)
    assert "finished by cancelled" in " ".join(
        drawn(Answer("", (), "cancelled", prompt=PromptSummary(5), stats=empty), 80)
    )


def test_sparklines_show_the_longest_of_each_group() -> None:
    assert sparkline([1, 1, 1, 8, 1, 1], 3) == "▂█▂"
    assert sparkline([1, 2], 10) == "▅█"
    assert sparkline([0.0, 0.0], 2) == "▁▁"
