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


def test_every_shipped_preset_runs(vita: Vita) -> None:
    for preset in (ROOT / "configs" / "presets").glob("*.toml"):
        assert vita("--config", preset.stem, *ASK).code == 0
    assert "presets are creative, pipeline, streaming" in vita("--config", "nothing").error
