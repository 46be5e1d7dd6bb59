"""What is inspected is what the model gets, whatever a file is called."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands.inspect.fakes import GREEN, MOVING, QUESTION, SCENE, look
from tests.conftest import Run
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.inspect.inspection import Picture, Sound, Video, inspect_file
from vita_demo.errors import InputError
from vita_demo.preprocess.media import load_media
from vita_demo.request import Request, Sampling
from vita_demo.resources import resource

Vita = Callable[..., Run]


def test_it_is_what_the_model_really_gets(config: VitaConfig, embedded_pipeline) -> None:
    question = {"question": "?", "audio_path": QUESTION}
    requests = (Request(**question, image_paths=(SCENE, SCENE)), Request(**question, video_path=MOVING, fps=2.0))
    for request in requests:
        paths = (*request.image_paths, *filter(None, (request.video_path,)), QUESTION)
        inspection = look(config, *paths, fps=request.fps)
        media = load_media(request, config)
        assert media.tiles is not None
        assert media.fbank is not None
        assert np.array_equal(np.concatenate([item.tiles for item in inspection.items[:-1]]), media.tiles)
        assert np.array_equal(inspection.items[-1].fbank, media.fbank)
        model = embedded_pipeline.model
        image, sound = model.encode_tiles(media.tiles), model.encode_audio(media.fbank)
        assert inspection.positions == image.shape[0] * image.shape[1] + len(sound)
        assert inspection.fits_one_question


def test_the_kind_is_found_whatever_the_name(config: VitaConfig, tmp_path: Path) -> None:
    for source, name, kind in ((SCENE, "a.mp4", Picture), (MOVING, "b.wav", Video), (QUESTION, "c.png", Sound)):
        shutil.copy(source, tmp_path / name)
        assert isinstance(inspect_file(tmp_path / name, config, Sampling()), kind)


def test_a_folder_is_a_video_without_times(config: VitaConfig, tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (40, 20), GREEN).save(tmp_path / f"{number}.png")
    item = inspect_file(tmp_path, config, Sampling(max_frames=2))
    assert isinstance(item, Video)
    facts = item.facts()
    assert (facts["frames"], facts["total_frames"], facts["times_s"], facts["width"]) == (2, 3, [], 40)


def test_sampling_is_that_of_the_demo(config: VitaConfig) -> None:
    (item,) = look(config, MOVING, fps=4.0, start_s=1.0, end_s=2.0).items
    assert isinstance(item, Video)
    assert item.frames.times_s[0] == 1.0
    assert len(item.tiles) == 5
    with pytest.raises(InputError, match="--end 1 must come after --start 2"):
        Sampling(start_s=2.0, end_s=1.0)


def test_a_framecat_projector_takes_five_tiles_at_once(config: VitaConfig, tmp_path: Path) -> None:
    shutil.copytree(resource("assets", "vita-tiny"), tmp_path / "wide")
    path = tmp_path / "wide" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mm_hidden_size": 5 * 512}))
    wide = VitaConfig.from_pretrained(tmp_path / "wide")
    assert look(wide, SCENE).positions == 3 * 16
