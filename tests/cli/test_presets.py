"""Presets: what they set, what wins over them, and mistakes in them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ASSETS, ROOT, Run

Vita = Callable[..., Run]


ASK = ("--question", "Describe this image.", "--image_path", ASSETS / "scene.png", "--max_new_tokens", 12)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float32_on_the_cpu")]


def test_a_preset_is_weaker_than_environment_and_flag(
    vita: Vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('max_new_tokens = 3\nquestion = "hi"\njson = true\n')
    assert len(vita("--config", preset).json["token_ids"]) == 3
    monkeypatch.setenv("VITA_DEMO_MAX_NEW_TOKENS", "4")
    assert len(vita("--config", preset).json["token_ids"]) == 4
    assert len(vita("--config", preset, "--max_new_tokens", 5).json["token_ids"]) == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [("max_new_token = 3", "did you mean max_new_tokens"), ("=", "cannot be read"), (None, "cannot be read")],
)
def test_a_preset_with_mistakes_is_refused(vita: Vita, tmp_path: Path, content: str | None, words: str) -> None:
    preset = tmp_path / "mine.toml"
    if content is not None:
        preset.write_text(content)
    run = vita("--config", preset)
    assert words in run.error
    assert run.code == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("max_new_tokens = 'many'", "max_new_tokens = 'many' 'many' is not a valid integer"),
        ("max_new_tokens = 2.5", "max_new_tokens = 2.5 must be a whole number"),
        ("max_new_tokens = true", "must be a text or a number"),
        ("max_new_tokens = [1]", "max_new_tokens = [1] must be a text or a number"),
        ("[max_new_tokens]\na = 1", "max_new_tokens = {'a': 1} must be a text or a number"),
        ("streaming = 'perhaps'", "streaming = 'perhaps' must be true or false"),
        ("stop_string = [[1]]", "stop_string = [[1]] must be a list of texts"),
        ("engine = 'steam'", "'steam' is not one of"),
        ("question = 2020-01-01", "must be a text or a number"),
        ("a = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
    ],
)
def test_a_bad_value_names_the_file(vita: Vita, tmp_path: Path, content: str, words: str) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text(content)
    run = vita("--config", preset)
    assert words in run.error
    assert str(preset) in run.error
    assert run.code == 2


def test_byte_order_marks_line_ends_dashes_and_single_texts_are_fine(vita: Vita, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    lines = ("max-new-tokens = 9", 'question = "hi"', 'stop_string = "Vita"', "json = true")
    preset.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    assert vita("--config", preset).json["text"] == "Hello! I am "


def test_every_shipped_preset_runs(vita: Vita) -> None:
    for preset in (ROOT / "configs" / "presets").glob("*.toml"):
        assert vita("--config", preset.stem, *ASK).code == 0
    assert "presets are creative, pipeline, streaming" in vita("--config", "nothing").error
