"""The command that shows what the model would see of some files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.locate import EMBEDDED, locate_settings
from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import FILE, GIVEN, check_one_stdin, sampling_options, typed_file, url_options
from vita_demo.preprocess.decoder import start_decoder
from vita_demo.request import Sampling, refuse_input
from vita_demo.stdout import write_json

if TYPE_CHECKING:
    from vita_demo.console import Console

_READ_HERE = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".wav", ".flac", ".ogg"}
"""Files that need no decoding process."""


@command(
    click.argument("media", type=GIVEN, nargs=-1, required=True, metavar="FILE…"),
    option_group("What is seen of a video", *sampling_options),
    option_group("Where files come from", *url_options),
    option_group(
        "Model",
        click.option("--model_path", default=EMBEDDED, show_default=True, help="A checkpoint's folder or hub id."),
    ),
    option_group(
        "Printing",
        click.option("--output", type=FILE, help="Draw what the model sees into this PNG file."),
        click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON object."),
    ),
)
def inspect(console: "Console", media: tuple[Path | str, ...], **flags: Any) -> None:
    """Show what the model gets of pictures, videos, folders of frames and sounds.

    That is the tiles of a picture, the sampled frames of a video and the filter bank of a sound, and how many positions
    of the context each takes.  Only the model's settings are read, not its weights; nothing is downloaded.
    """
    check_one_stdin(*media)
    paths = tuple(typed_file(given, "MEDIA", flags) for given in media)
    if any(path.suffix.lower() not in _READ_HERE for path in paths):
        start_decoder()
    from vita_demo.commands.inspect.inspection import inspect_media
    from vita_demo.commands.inspect.view import save_sheet, show_inspection

    if flags["output"] is not None:
        refuse_input(flags["output"], paths, "--output")
    sampling = Sampling(fps=flags["fps"], max_frames=flags["max_frames"], start_s=flags["start"], end_s=flags["end"])
    config = VitaConfig.from_pretrained(locate_settings(flags["model_path"]))
    inspection = inspect_media(paths, config, sampling)
    if flags["output"] is not None:
        save_sheet(inspection, flags["output"])
        console.note(f"wrote {flags['output']}")
    if flags["as_json"]:
        write_json(inspection.to_dict())
    else:
        show_inspection(inspection, preview=flags["output"] is None)
