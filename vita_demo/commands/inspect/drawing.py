"""Draws inspected media with Pillow: sheets with captions for a file, and small mosaics for a terminal.

Everything is drawn from the preprocessed arrays, so it shows what the model gets.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vita_demo.commands.inspect.inspection import Inspection, Item, Picture, Sound, Video
from vita_demo.commands.ticks import ticks
from vita_demo.preprocess.image import Tiles

MARGIN = 24
HEADER = 64
LINE_COLOUR = (255, 255, 255)
_GRID_SIDE = 1200
_CELL_SIDES = (96, 448)
_FRAME_SIDE = 256
_FRAMES_PER_ROW = 4
_FRAMES_IN_ONE_ROW = 5
_PLOT_WIDTHS = (640, 1200)
_PLOT_HEIGHT = 320
_CAPTION = 24
_TICK = 6
_TIME_TICKS = 10
_TRANSPARENT = (0, 0, 0, 0)
_INK, _SOFT, _PAPER = (24, 28, 36), (104, 112, 124), (255, 255, 255)
# Nine colours of matplotlib's viridis, from dark blue to light yellow in perceptually uniform steps.
_COLOURS = np.array(
    [(68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
     (170, 220, 50), (253, 231, 37)], dtype=np.float64,
)  # fmt: skip

Pixels = NDArray[np.uint8]


def draw_sheet(inspection: Inspection) -> Image.Image:
    """Draw every file, one below the other."""
    sheets = [_draw_item(item) for item in inspection.items]
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), _PAPER)
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole


def describe_item(item: Item) -> tuple[str, str]:
    """Return two phrases: what a file is, and what the model gets of it."""
    if isinstance(item, Picture):
        thumbnail = " + thumbnail" if item.has_thumbnail else ""
        tiles = f"{item.columns} × {item.rows} tiles of {item.tiles.shape[1]} px{thumbnail}"
        return f"{item.image.width:,} × {item.image.height:,} px", tiles
    if isinstance(item, Video):
        width, height = item.frames.images[0].size
        times_s = item.frames.times_s
        span = f" from {times_s[0]:.1f} to {times_s[-1]:.1f} s" if times_s else ""
        fit = f"{'padded' if item.padded else 'cropped'} to {item.tiles.shape[1]} px"
        return f"{_count(item.frames.total)}, {width:,} × {height:,} px", f"{_count(len(item.tiles))}{span}, {fit}"
    frames, bins = item.fbank.shape
    return f"{item.duration_s:.2f} s", f"{_count(frames)} of {bins} mel bins"


def _count(frames: int) -> str:
    return "1 frame" if frames == 1 else f"{frames:,} frames"


def cell_side(columns: int, rows: int) -> int:
    """Return the side of a tile on the sheet in pixels: smaller for larger grids, so that the sheet stays small."""
    least, most = _CELL_SIDES
    return min(max(_GRID_SIDE // max(columns, rows), least), most)


def _draw_item(item: Item) -> Image.Image:
    if isinstance(item, Picture):
        return _draw_picture(item)
    return _draw_video(item) if isinstance(item, Video) else _draw_sound(item)


def _paper(item: Item, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return a sheet with a heading and room for a drawing of this size."""
    # Pillow's built-in font has no glyph for "×".
    facts = " · ".join((*describe_item(item), f"{item.positions:,} positions")).replace("×", "x")
    title, line = item.path.name or str(item.path), ImageFont.load_default(size=15)
    needed = int(max(line.getlength(facts), _font(22).getlength(title)))
    sheet = Image.new("RGB", (max(width, needed) + 2 * MARGIN, height + HEADER + 2 * MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 6), title, fill=_INK, font=_font(22))
    draw.text((MARGIN, MARGIN + 26), facts, fill=_SOFT, font=line)
    return sheet, draw


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _draw_picture(item: Picture) -> Image.Image:
    """Draw the tiles at their places in the picture, with lines between them, and the thumbnail beside it."""
    cell = cell_side(item.columns, item.rows)
    width, height = item.columns * cell, item.rows * cell
    thumbnail = min(max(cell, 224), 320) if item.has_thumbnail else 0
    beside = MARGIN + thumbnail if thumbnail else 0
    sheet, draw = _paper(item, width + beside, max(height, thumbnail + _CAPTION if thumbnail else 0))
    left, top = MARGIN, MARGIN + HEADER
    for number in range(item.columns * item.rows):
        row, column = divmod(number, item.columns)
        sheet.paste(_scaled(item.tiles[number], cell), (left + column * cell, top + row * cell))
    for column in range(1, item.columns):
        _draw_line(draw, (left + column * cell, top, left + column * cell, top + height - 1))
    for row in range(1, item.rows):
        _draw_line(draw, (left, top + row * cell, left + width - 1, top + row * cell))
    for number in range(item.columns * item.rows):
        row, column = divmod(number, item.columns)
        _draw_number(draw, (left + column * cell + 8, top + row * cell + 8), number + 1)
    if thumbnail:
        x = left + width + MARGIN
        sheet.paste(_scaled(item.tiles[-1], thumbnail), (x, top))
        _draw_number(draw, (x + 8, top + 8), len(item.tiles))
        draw.text((x, top + thumbnail + 4), "thumbnail: the whole picture", fill=_SOFT, font=_font(14))
    return sheet


def _draw_line(draw: ImageDraw.ImageDraw, ends: tuple[int, int, int, int]) -> None:
    """Draw a light line on a wider dark one, so that it is visible on any picture."""
    draw.line(ends, fill=_INK, width=5)
    draw.line(ends, fill=LINE_COLOUR, width=3)


def _draw_number(draw: ImageDraw.ImageDraw, corner: tuple[int, int], number: int) -> None:
    x, y = corner
    font = _font(16)
    width = int(font.getlength(str(number)))
    draw.rounded_rectangle((x, y, x + width + 12, y + 24), radius=5, fill=_INK)
    draw.text((x + 6, y + 12), str(number), fill=_PAPER, font=font, anchor="lm")


def _draw_video(item: Video) -> Image.Image:
    """Draw the frames in reading order, each with its number and time below it."""
    columns = len(item.tiles) if len(item.tiles) <= _FRAMES_IN_ONE_ROW else _FRAMES_PER_ROW
    rows = -(-len(item.tiles) // columns)
    step_x, step_y = _FRAME_SIDE + 12, _FRAME_SIDE + _CAPTION + 8
    sheet, draw = _paper(item, columns * step_x - 12, rows * step_y - 8)
    for number, tile in enumerate(item.tiles):
        row, column = divmod(number, columns)
        x, y = MARGIN + column * step_x, MARGIN + HEADER + row * step_y
        sheet.paste(_scaled(tile, _FRAME_SIDE), (x, y))
        time = f" · {item.frames.times_s[number]:.2f} s" if item.frames.times_s else ""
        draw.text((x, y + _FRAME_SIDE + 4), f"{number + 1}{time}", fill=_INK, font=_font(15))
    return sheet


def _draw_sound(item: Sound) -> Image.Image:
    """Draw the filter bank: time to the right, mel bins upwards, loud parts light."""
    frames, bins = item.fbank.shape
    width = min(max(2 * frames, _PLOT_WIDTHS[0]), _PLOT_WIDTHS[1])
    axis = 48
    sheet, draw = _paper(item, axis + width, _PLOT_HEIGHT + 2 * _CAPTION + _TICK)
    left, top = MARGIN + axis, MARGIN + HEADER
    bottom = top + _PLOT_HEIGHT
    heat = Image.fromarray(heat_map(item.fbank)).resize((width, _PLOT_HEIGHT), Image.Resampling.BILINEAR)
    sheet.paste(heat, (left, top))
    font = _font(14)
    for tick in range(0, bins + 1, 20):
        y = bottom - round(tick / bins * _PLOT_HEIGHT)
        draw.line((left - _TICK, y, left - 1, y), fill=_SOFT)
        draw.text((left - _TICK - 4, y), str(tick), fill=_SOFT, font=font, anchor="rm")
    end_s = frames * item.frame_shift_s
    for time_s in ticks(0, end_s, _TIME_TICKS):
        x = left + round(time_s / end_s * (width - 1))
        draw.line((x, bottom, x, bottom + _TICK), fill=_SOFT)
        draw.text((x, bottom + _TICK + 3), f"{time_s:g}", fill=_SOFT, font=font, anchor="ma")
    caption = "mel bins over seconds; light is loud"
    draw.text((left, bottom + _TICK + _CAPTION), caption, fill=_SOFT, font=font)
    return sheet


def heat_map(fbank: NDArray[np.float32]) -> Pixels:
    """Map a filter bank [frames, mel bins] to colours: uint8 array [mel bins, frames, 3], the lowest bin last.

    The scale spans the 2nd to the 99th percentile without digital silence, which lies far below the quietest sound.
    """
    audible = fbank[fbank > fbank.min()]
    low, high = np.percentile(audible if audible.size else fbank, (2, 99))
    level = np.clip((fbank.T[::-1] - low) / max(high - low, 1e-6), 0, 1)  # [mel bins, frames]
    steps = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(level, steps, _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)  # [mel bins, frames, 3]


def draw_preview(item: Item, width: int, height: int) -> Image.Image:
    """Draw a file for a terminal: RGBA of at most this size, transparent between tiles and frames."""
    if isinstance(item, Sound):
        return Image.fromarray(heat_map(item.fbank)).resize((width, height), Image.Resampling.BOX).convert("RGBA")
    if isinstance(item, Video):
        columns = _best_columns(len(item.tiles), width, height)
        return _mosaic(item.tiles, columns, min(width // columns, height // -(-len(item.tiles) // columns)))
    beside = 2 if item.has_thumbnail else 0
    step = min((width - beside) // (item.columns + item.has_thumbnail), height // item.rows)
    grid = _mosaic(item.tiles[: item.columns * item.rows], item.columns, step)
    if not item.has_thumbnail:
        return grid
    both = Image.new("RGBA", (grid.width + 1 + beside + step, grid.height), _TRANSPARENT)
    both.paste(grid, (0, 0))
    both.paste(_mosaic(item.tiles[-1:], 1, step), (grid.width + 1 + beside, 0))
    return both


def _best_columns(count: int, width: int, height: int) -> int:
    """Return the number of columns that makes the tiles largest."""
    return max(range(1, count + 1), key=lambda columns: min(width // columns, height // -(-count // columns)))


def _mosaic(tiles: Tiles, columns: int, step: int) -> Image.Image:
    """Arrange tiles [N, S, S, 3] in rows, ``step`` pixels apart, with a transparent pixel between them."""
    step = max(step, 2)
    mosaic = Image.new("RGBA", (columns * step - 1, -(-len(tiles) // columns) * step - 1), _TRANSPARENT)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        mosaic.paste(_scaled(tile, step - 1), (column * step, row * step))
    return mosaic


def _scaled(tile: Tiles, side: int) -> Image.Image:
    return Image.fromarray(tile).resize((side, side), Image.Resampling.LANCZOS)
