"""``vita-demo inspect`` from the command line."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.commands.inspect.fakes import GREEN, MOVING, QUESTION, SCENE
from tests.conftest import Run
from vita_demo.commands.inspect.drawing import HEADER, LINE_COLOUR, MARGIN, cell_side

Vita = Callable[..., Run]


def test_facts_of_the_sample_media(vita: Vita) -> None:
    found = vita("inspect", SCENE, MOVING, QUESTION, "--json").json
    picture, video, sound = found["media"]
    assert picture == {
        "path": str(SCENE), "kind": "picture", "width": 640, "height": 480, "columns": 4, "rows": 3, "tiles": 13,
        "thumbnail": True, "tile_size": 128, "positions": 208,
    }  # fmt: skip
    assert video == {
        "path": str(MOVING), "kind": "video", "width": 320, "height": 180, "total_frames": 54, "frames": 5,
        "times_s": [0, 1, 2, 3, 4], "padded": True, "tile_size": 128, "positions": 80,
    }  # fmt: skip
    assert sound == {
        "path": str(QUESTION), "kind": "sound", "duration_s": 2.112, "frames": 209, "mel_bins": 80, "positions": 26,
    }  # fmt: skip
    assert found["positions"] == 208 + 80 + 26
    assert found["positions_left"] == 32_768 - 314
    assert found["trained_positions_left"] == 1024 - 314
    assert found["fits_one_question"] is False


def test_the_released_models_settings_need_no_download(vita: Vita, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = vita("inspect", SCENE, MOVING, "--model_path", "VITA-MLLM/VITA-1.5", "--json").json
    assert [item["positions"] for item in found["media"]] == [13 * 256, 5 * 256]
    assert found["media"][1]["padded"] is False
    run = vita("inspect", SCENE, "--model_path", "owner/name")
    assert run.code == 1
    assert "owner/name is not in the local hub cache; download it with hf download owner/name" in run.error


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
    assert "4 × 3 tiles of 128 px + thumbnail" in run.out
    assert "234 positions in all; 32,534 of 32,768 are left" in run.out
    assert "▀" not in run.out
    assert "\x1b" not in run.out


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


def test_stdin_is_inspected(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SCENE.read_bytes())))
    assert "stdin  picture  640 × 480 px" in vita("inspect", "-").out
