"""Sheets and mosaics show every tile at its place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.commands.inspect.fakes import GREEN, MOVING, QUESTION, SCENE, look
from tests.conftest import Run
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.inspect.drawing import HEADER, MARGIN, cell_side, draw_preview, draw_sheet, heat_map
from vita_demo.commands.inspect.inspection import Picture

Vita = Callable[..., Run]


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
    assert item.positions == 16
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


def test_seconds_are_marked_below_a_sound(config: VitaConfig) -> None:
    sheet = np.asarray(draw_sheet(look(config, QUESTION)).convert("L"))
    left, below_the_plot = MARGIN + 48, MARGIN + HEADER + 320 + 4
    marks = np.flatnonzero(sheet[below_the_plot, left:] < 200)
    # 209 frames of 10 ms on 640 pixels
    assert marks.tolist() == [round(second / 2.09 * 639) for second in (0, 0.5, 1, 1.5, 2)]
