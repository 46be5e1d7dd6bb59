"""The table of a chat's turns."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console as RichConsole

from tests.generation.fakes import watched
from vita_demo.answer import Turn
from vita_demo.commands.chat.view import show_turns
from vita_demo.generation.events import Sampled, answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request


def drawn(questions: Sequence[str], width: int) -> list[str]:
    answer = answer_of(watched(map(Sampled, b"hello"), GenerationOptions(max_new_tokens=5)))
    rich = RichConsole(file=io.StringIO(), width=width, markup=False, emoji=False)
    rich.print(show_turns([Turn(Request(question=question), answer) for question in questions], width))
    return rich.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_column_is_lost(width: int) -> None:
    lines = drawn(
        ("What is at the top left of this picture, and is it red?", "左上角有什么？" * 5, "[1] :100:", "x"), width
    )
    text = " ".join(" ".join(lines).split())
    for words in ("turn", "question", "cached", "computed", "token", "tokens/s", "finished"):
        assert words in text
    assert "[1] :100:" in text
    assert text.count("length") == 4
    assert len(lines) == 2 + 4


@pytest.mark.parametrize("width", [40, 60])
def test_where_no_table_fits_no_word_is_broken(width: int) -> None:
    lines = drawn(("What is at the top left of this picture, and is it red?", "[1] :100:"), width)
    text = " ".join(" ".join(lines).split())
    assert all(len(line) <= width for line in lines)
    for words in (
        "1 What is at the top left of this picture, and is it red?",
        "2 [1] :100:",
        "0 cached",
        "finished by",
    ):
        assert words in text
    assert text.count("length") == 2
