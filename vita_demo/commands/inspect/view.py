"""Prints inspected media as a table, with a coarse preview where the terminal has colours."""

from pathlib import Path

from PIL import Image
from rich.color import Color
from rich.console import Console as RichConsole
from rich.style import Style
from rich.table import Table
from rich.text import Text

from vita_demo.commands.inspect.drawing import describe_item, draw_preview, draw_sheet
from vita_demo.commands.inspect.inspection import Inspection
from vita_demo.console.rich_consoles import stdout_console
from vita_demo.errors import InputError

_PREVIEW_COLUMNS = 100
_PREVIEW_LINES = 16
_HALF_BLOCKS = {(True, True): "▀", (True, False): "▀", (False, True): "▄", (False, False): " "}


def save_sheet(inspection: Inspection, path: Path) -> None:
    """Draw what the model gets into a PNG file.

    Raises:
        InputError: when it cannot be written.
    """
    try:
        draw_sheet(inspection).save(path, format="PNG")
    except OSError as error:
        raise InputError(f"--output {path} cannot be written ({error.strerror}); give another path") from None


def show_inspection(inspection: Inspection, preview: bool, console: RichConsole | None = None) -> None:
    """Print the facts of each file and the remaining context; ``preview`` also draws the files."""
    console = console or stdout_console()
    if preview and console.is_terminal and console.color_system is not None:
        for item in inspection.items:
            size = (min(console.width, _PREVIEW_COLUMNS), 2 * _PREVIEW_LINES)
            console.print(Text(item.path.name, style="bold"))
            console.print(half_blocks(draw_preview(item, *size)))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("file", "kind", "what it is", "what the model gets"):
        table.add_column(heading, overflow="fold")
    table.add_column("positions", justify="right")
    for item in inspection.items:
        table.add_row(Text(item.path.name), item.kind, *describe_item(item), f"{item.positions:,}")
    console.print(table)
    console.print(_summary(inspection))
    if not inspection.fits_one_question:
        note = "They do not fit into one question, which holds pictures or one video, and one sound."
        console.print(Text(note, style="yellow"))


def half_blocks(image: Image.Image) -> Text:
    """Turn an RGBA picture into text: each character is two pixels, one above the other."""
    pixels = image.load()
    text = Text(no_wrap=True)
    if pixels is None:
        return text
    for y in range(0, image.height, 2):
        for x in range(image.width):
            upper = _colour(pixels[x, y])
            lower = _colour(pixels[x, y + 1]) if y + 1 < image.height else None
            block = _HALF_BLOCKS[upper is not None, lower is not None]
            style = Style(color=upper, bgcolor=lower) if upper else Style(color=lower)
            text.append(block, style)
        text.append("\n")
    return text


def _colour(pixel: object) -> Color | None:
    """Return the colour of an RGBA pixel; None when it is transparent."""
    if not isinstance(pixel, tuple) or pixel[3] == 0:
        return None
    return Color.from_rgb(*pixel[:3])


def _summary(inspection: Inspection) -> Text:
    used, most, trained = inspection.positions, inspection.max_positions, inspection.trained_positions
    total = f"{used:,} positions in all"
    if used >= most:
        return Text(f"{total}: over the model's {most:,}; give fewer files or lower --max_frames", style="bold red")
    left = f"{most - used:,} of {most:,} are left for the question and the answer"
    if used > trained:
        return Text(f"{total}, over the {trained:,} that the model was trained with; {left}", style="yellow")
    return Text(f"{total}; {left}, {trained - used:,} of the {trained:,} that the model was trained with")
