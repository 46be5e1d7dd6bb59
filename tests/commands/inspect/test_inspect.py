"""What the model would see is said in numbers and drawn where it belongs, whatever a file is called."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from rich.console import Console as RichConsole
from rich.text import Text

from tests.conftest import ASSETS, Run
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.inspect.drawing import (
    HEADER,
    LINE_COLOUR,
    MARGIN,
    cell_side,
    draw_preview,
    draw_sheet,
    heat_map,
)
from vita_demo.commands.inspect.inspection import (
    Inspection,
    Picture,
    Sound,
    Video,
    inspect_file,
    inspect_media,
)
from vita_demo.commands.inspect.view import half_blocks, show_inspection
from vita_demo.errors import InputError
from vita_demo.preprocess.media import load_media
from vita_demo.request import Request, Sampling
from vita_demo.resources import resource

Vita = Callable[..., Run]
SCENE, MOVING, QUESTION = ASSETS / "scene.png", ASSETS / "moving.mp4", ASSETS / "question.wav"
GREEN = (10, 200, 30)


@pytest.fixture(scope="module")
def config() -> VitaConfig:
    """The embedded model's settings: tiles of 120 pixels, 9 positions each, frames padded."""
    return VitaConfig.from_pretrained(resource("assets", "vita-tiny"))


@pytest.fixture(scope="module")
def released() -> VitaConfig:
    return VitaConfig.from_pretrained(resource("configs", "vita15"))


def look(config: VitaConfig, *paths: Path, **sampling: float) -> Inspection:
    return inspect_media(paths, config, Sampling(**sampling))


def test_facts_of_the_sample_media(vita: Vita) -> None:
    found = vita("inspect", SCENE, MOVING, QUESTION, "--json").json
    picture, video, sound = found["media"]
    assert picture == {
        "path": str(SCENE), "kind": "picture", "width": 640, "height": 480, "columns": 4, "rows": 3, "tiles": 13,
        "thumbnail": True, "tile_size": 120, "positions": 117,
    }  # fmt: skip
    assert video == {
        "path": str(MOVING), "kind": "video", "width": 256, "height": 256, "total_frames": 60, "frames": 5,
        "times_s": [0, 1, 2, 3, 4], "padded": True, "tile_size": 120, "positions": 45,
    }  # fmt: skip
    assert sound == {
        "path": str(QUESTION), "kind": "sound", "duration_s": 2.112, "frames": 209, "mel_bins": 80, "positions": 26,
    }  # fmt: skip
    assert found["positions"] == 117 + 45 + 26
    assert found["positions_left"] == 32_768 - 188
    assert found["trained_positions_left"] == 1024 - 188
    assert found["fits_one_question"] is False


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


def test_the_released_models_settings_need_no_download(vita: Vita, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = vita("inspect", SCENE, MOVING, "--model_path", "VITA-MLLM/VITA-1.5", "--json").json
    assert [item["positions"] for item in found["media"]] == [13 * 256, 5 * 256]
    assert found["media"][1]["padded"] is False
    run = vita("inspect", SCENE, "--model_path", "owner/name")
    assert run.code == 1
    assert "owner/name is not in the local hub cache; download it with hf download owner/name" in run.error


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


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"hello, this is text\n" * 50, 1, "is no picture, video or sound"),
        (bytes(range(256)) * 8, 1, "is no picture, video or sound"),
        (b"\x00\x00\x01\xb3\x14\x00\xf0\x13" + b"\0" * 500, 1, "is no picture, video or sound"),
        (SCENE.read_bytes()[:2000], 1, "is damaged"),
        (b"", 2, "is empty"),
    ],
)
def test_what_is_no_medium_gets_one_line(vita: Vita, tmp_path: Path, content: bytes, code: int, words: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    run = vita("inspect", path)
    assert run.code == code
    assert words in run.error
    assert "file.bin" in run.error
    assert run.out == ""


def test_the_media_libraries_add_no_lines_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    command = [sys.executable, "-m", "vita_demo", "inspect", tmp_path / "x.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_bad_usage_gets_one_line(vita: Vita, tmp_path: Path) -> None:
    assert "gone.png does not exist" in vita("inspect", tmp_path / "gone.png").error
    run = vita("inspect", SCENE, "--output", tmp_path / "no" / "folder.png")
    assert run.code == 2
    assert "cannot be written (No such file or directory)" in run.error
    assert vita("inspect", MOVING, "--fps", 0).code == 2
    assert vita("inspect").code == 2
    soundfile.write(tmp_path / "x.wav", np.zeros(100), 16000)
    assert "too short" in vita("inspect", tmp_path / "x.wav").error


def test_the_table_is_plain_when_piped(vita: Vita) -> None:
    run = vita("inspect", SCENE, QUESTION)
    assert run.code == 0
    assert run.err == ""
    assert "4 × 3 tiles of 120 px + thumbnail" in run.out
    assert "143 positions in all; 32,625 of 32,768 are left" in run.out
    assert "▀" not in run.out
    assert "\x1b" not in run.out


def test_a_context_that_overflows_is_told(config: VitaConfig, capsys: pytest.CaptureFixture[str]) -> None:
    for most, trained, words in ((300, 250, "left for the words"), (110, 100, "over the model's 110")):
        show_inspection(Inspection(look(config, SCENE, SCENE).items[:1], most, trained), preview=False)
        assert words in capsys.readouterr().out
    show_inspection(Inspection(look(config, SCENE).items, 300, 110), preview=False)
    assert "over the 110 that the model was trained with" in capsys.readouterr().out


def test_the_drawing_has_its_lines_between_the_tiles(vita: Vita, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), GREEN).save(tmp_path / "green.png")
    run = vita("inspect", tmp_path / "green.png", "--output", tmp_path / "out.png")
    assert run.code == 0
    assert f"wrote {tmp_path / 'out.png'}" in run.err.replace("\n", "")
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.format == "PNG"
        pixels = np.asarray(drawn.convert("RGB"))
    columns, rows, cell = 3, 2, cell_side(3, 2)
    left, top = MARGIN, MARGIN + HEADER
    half = cell // 2
    across = pixels[top + half, left : left + columns * cell]
    down = pixels[top : top + rows * cell, left + half]
    light_x = np.flatnonzero((across == LINE_COLOUR).all(axis=1))
    light_y = np.flatnonzero((down == LINE_COLOUR).all(axis=1))
    assert light_x.tolist() == [k * cell + shift for k in (1, 2) for shift in (-1, 0, 1)]
    assert light_y.tolist() == [cell + shift for shift in (-1, 0, 1)]
    assert across[half].tolist() == list(GREEN)
    assert pixels[top + 200, left + columns * cell + MARGIN + 100].tolist() == list(GREEN)


def test_the_tiles_are_drawn_where_they_lie(config: VitaConfig, tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 400), GREEN)
    image.paste((250, 0, 0), (200, 0, 400, 200))
    image.save(tmp_path / "x.png")
    (item,) = look(config, tmp_path / "x.png").items
    assert isinstance(item, Picture)
    assert item.columns == item.rows
    sheet = draw_sheet(look(config, tmp_path / "x.png"))
    side = item.columns * cell_side(item.columns, item.rows)
    quarter = side // 4
    assert sheet.getpixel((MARGIN + 3 * quarter, MARGIN + HEADER + quarter + 9)) == (250, 0, 0)
    assert sheet.getpixel((MARGIN + quarter, MARGIN + HEADER + 3 * quarter + 9)) == GREEN


def test_one_tile_has_no_lines_and_no_thumbnail(config: VitaConfig, tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), GREEN).save(tmp_path / "x.png")
    (item,) = look(config, tmp_path / "x.png").items
    assert isinstance(item, Picture)
    assert not item.has_thumbnail
    assert item.positions == 9
    assert draw_preview(item, 80, 32).getpixel((3, 3)) == (*GREEN, 255)


def test_many_media_are_drawn_below_one_another(config: VitaConfig) -> None:
    paths = (SCENE, MOVING, QUESTION)
    heights = [draw_sheet(look(config, path)).height for path in paths]
    assert draw_sheet(look(config, *paths)).height == sum(heights)


def test_loud_is_light_and_low_is_below() -> None:
    fbank = np.zeros((10, 4), dtype=np.float32)
    fbank[:, 0] = np.linspace(1, 20, 10)
    colours = heat_map(fbank)
    assert colours.shape == (4, 10, 3)
    assert colours[3, -1].tolist() == [253, 231, 37]
    assert colours[0, -1].tolist() == [68, 1, 84]
    brightness = colours[3].astype(int).sum(axis=1)
    assert brightness[-1] > brightness[0]
    assert heat_map(np.zeros((3, 4), dtype=np.float32)).shape == (4, 3, 3)


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


def test_a_framecat_projector_takes_five_tiles_at_once(config: VitaConfig, tmp_path: Path) -> None:
    shutil.copytree(resource("assets", "vita-tiny"), tmp_path / "wide")
    path = tmp_path / "wide" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mm_hidden_size": 5 * 512}))
    wide = VitaConfig.from_pretrained(tmp_path / "wide")
    assert look(wide, SCENE).positions == 3 * 9
