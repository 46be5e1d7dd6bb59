"""The command that answers all rows of a folder or a table."""

from typing import TYPE_CHECKING, Any

import click

from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import (
    FILE,
    generation_options,
    make_options,
    make_source,
    model_options,
    ray_option,
    sampling_options,
)
from vita_demo.request import Sampling

if TYPE_CHECKING:
    from vita_demo.console import Console

batch_options = option_group(
    "Rows",
    click.option("--output", type=FILE, required=True, metavar="FILE", help="A .jsonl or .parquet file for the rows."),
    click.option("--question", default="", help="What to ask of each row; {column} stands for a column's value."),
    click.option("--glob", default="**/*", show_default=True, help="Which files of a folder."),
    *sampling_options,
    click.option("--slots", type=int, metavar="N", help="Answers at once; by default what fits, up to 8."),
    click.option("--retry_errors", is_flag=True, help="Do the rows again that have an error."),
    click.option("--fail_on_error", is_flag=True, help="Exit with 1 when a row has an error."),
    click.option("--quiet", is_flag=True, help="Say only warnings and errors."),
)

cluster_options = option_group(
    "Many machines",
    ray_option,
    click.option("--workers", metavar="MIN:MAX", help="Copies of the model; by default what the cluster has room for."),
)


@command(click.argument("input_", metavar="INPUT"), batch_options, cluster_options, model_options, generation_options)
def batch(console: "Console", **flags: Any) -> None:
    """Answer every row of INPUT, several at once, and write a row for each.

    INPUT is a folder of pictures, videos and sounds, a table in .jsonl, .csv or .parquet with columns such as question,
    image_path, video_path and audio_path, or - for lines of JSON on stdin.  Folder, table and the files that it names
    may be on an object store, as s3://bucket/folder.  What the output has is not done again, so a batch that was
    stopped goes on when it is called again.  A row that cannot be answered says why in its column error.
    """
    from vita_demo.commands.batch import run_batch

    sampling = Sampling(fps=flags["fps"], max_frames=flags["max_frames"], start_s=flags["start"], end_s=flags["end"])
    source = make_source(flags)
    settings = source.read()
    options = make_options({**flags, "strict_callbacks": False}, settings)
    run_batch(console, source, settings, options, sampling, flags)
