"""The table and the previews fit their terminal, and an overfull context is reported."""

from collections.abc import Callable

import pytest
from PIL import Image
from rich.console import Console as RichConsole
from rich.text import Text

from tests.commands.inspect.fakes import MOVING, QUESTION, SCENE, look
from tests.conftest import Run
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.inspect.inspection import Inspection
from vita_demo.commands.inspect.view import half_blocks, show_inspection

Vita = Callable[..., Run]


@pytest.mark.parametrize(
    ("max_positions", "trained_positions", "words"),
    [
        (300, 250, "208 positions in all; 92 of 300 are left for the question and the answer, 42 of the 250"),
        (300, 110, "208 positions in all, over the 110 that the model was trained with; 92 of 300 are left"),
        (110, 100, "208 positions in all: over the model's 110; give fewer files"),
    ],
)
def test_an_overfull_context_is_reported(
    config: VitaConfig, max_positions: int, trained_positions: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    items = look(config, SCENE).items
    show_inspection(Inspection(items, max_positions, trained_positions), preview=False)
    out = capsys.readouterr().out
    assert words in out
    assert "into one question" not in out


def test_media_for_several_questions_are_reported(config: VitaConfig, capsys: pytest.CaptureFixture[str]) -> None:
    show_inspection(look(config, SCENE, MOVING), preview=False)
    assert "They do not fit into one question" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 200])
def test_previews_fit_the_terminal(
    config: VitaConfig, released: VitaConfig, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings in (config, released):
        inspection = look(settings, SCENE, MOVING, QUESTION)
        console = RichConsole(width=width, force_terminal=True, color_system="truecolor", highlight=False)
        show_inspection(inspection, preview=True, console=console)
        lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
        assert all(len(line) <= width for line in lines)
        assert sum("▀" in line for line in lines) > 30


def test_half_blocks_hold_two_pixels() -> None:
    image = Image.new("RGBA", (3, 3), (0, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    image.putpixel((0, 1), (0, 0, 255, 255))
    image.putpixel((1, 1), (0, 0, 255, 255))
    text = half_blocks(image)
    assert text.plain == "▀▄ \n   \n"
    assert str(text.spans[0].style) == "#ff0000 on #0000ff"
