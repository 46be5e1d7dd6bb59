"""The sample media, and their inspection."""

from pathlib import Path

from tests.conftest import ASSETS
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.inspect.inspection import Inspection, inspect_media
from vita_demo.request import Sampling

SCENE, MOVING, QUESTION = ASSETS / "scene.png", ASSETS / "moving.mp4", ASSETS / "question.wav"
GREEN = (10, 200, 30)


def look(config: VitaConfig, *paths: Path, **sampling: float) -> Inspection:
    return inspect_media(paths, config, Sampling(**sampling))
