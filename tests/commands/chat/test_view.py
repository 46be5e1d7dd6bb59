"""The table of a chat's turns."""

import io

import pytest
from rich.console import Console as RichConsole

from tests.generation.fakes import watched
from vita_demo.answer import Turn
from vita_demo.commands.chat.view import turns_table
from vita_demo.generation.events import Sampled, answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_column_is_lost(width: int) -> None:
    answer = answer_of(watched(map(Sampled, b"hello"), GenerationOptions(max_new_tokens=5)))
    questions = ("What is at the top left of this picture, and is it red?", "左上角有什么？" * 5, "[1] :100:", "")
    questions = [question or "x" for question in questions]
    rich = RichConsole(file=io.StringIO(), width=width, markup=False, emoji=False)
    rich.print(turns_table([Turn(Request(question=question), answer) for question in questions]))
    lines = rich.file.getvalue().splitlines()
    text = " ".join(" ".join(lines).split())
    for words in ("turn", "question", "cached", "computed", "token", "tokens/s", "finished"):
        assert words in text
    assert "[1] :100:" in text or width < 80
    assert text.count("length") == len(questions)
    assert len(lines) == 2 + len(questions) or width < 80
