"""Settings of the two models."""

import pytest

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.resources import resource


@pytest.fixture(scope="module")
def config() -> VitaConfig:
    """The embedded model's settings: tiles of 120 pixels, 9 positions each, frames padded."""
    return VitaConfig.from_pretrained(resource("assets", "vita-tiny"))


@pytest.fixture(scope="module")
def released() -> VitaConfig:
    return VitaConfig.from_pretrained(resource("configs", "vita15"))
