"""Each mode ends when it is told to."""

import pytest

from tests.conftest import ASSETS
from vita_demo.commands.compare.modes import MODES
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request


@pytest.mark.parametrize("name", MODES)
def test_a_signal_ends_every_mode_early(name: str, embedded_pipeline) -> None:
    signal = StopSignal()
    signal.request("cancelled")
    request = Request(question="Describe this image.", image_paths=(ASSETS / "scene.png",))
    run = MODES[name](embedded_pipeline, request, GenerationOptions(max_new_tokens=400), signal)
    assert 1 <= len(run.token_ids) < 400
