"""The command line.  The only file that imports click; torch is imported after the arguments are checked."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vita_demo import __version__
from vita_demo.console import Console
from vita_demo.errors import InputError, VitaDemoError
from vita_demo.model_path import EMBEDDED, NOTICE
from vita_demo.prompt import MODEL_TYPE
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.generation.options import GenerationOptions
    from vita_demo.settings import Settings

FILE = click.Path(path_type=Path)
SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "VITA_DEMO",
    "token_normalize_func": lambda name: name.replace("-", "_"),
    "max_content_width": 110,
}


def media_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say what is asked about what."""
    for option in reversed(
        (
            click.option("--question", default="", help="What to ask. May be left out when --audio_path asks it."),
            click.option("--image_path", type=FILE, multiple=True, help="A picture; may be given several times."),
            click.option("--video_path", type=FILE, help="A video, or a folder of pictures as its frames."),
            click.option("--audio_path", type=FILE, help="A sound file, or a video whose sound track is heard."),
            click.option("--fps", default=1.0, show_default=True, help="Video frames sampled per second."),
            click.option("--max_frames", default=16, show_default=True, help="At most so many video frames."),
            click.option("--start", type=float, help="Where in the video to start, in seconds."),
            click.option("--end", type=float, help="Where in the video to end, in seconds."),
            click.option("--frameCat", "frame_cat", is_flag=True, help="For checkpoints that join five frames."),
        )
    ):
        command = option(command)
    return command


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say which model runs where."""
    for option in reversed(
        (
            click.option("--model_path", default=EMBEDDED, show_default=True, help="A checkpoint's folder or hub id."),
            click.option("--model_base", help="Not supported: merge LoRA weights first."),
            click.option("--model_type", default=MODEL_TYPE, show_default=True, help="Only this one."),
            click.option("--conv_mode", default=MODEL_TYPE, show_default=True, help="Only this one."),
            click.option("--vision_tower", type=FILE, help="Folder of the vision encoder's settings."),
            click.option("--audio_encoder", type=FILE, help="Folder of the audio encoder's settings."),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
            click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16 or bfloat16."),
        )
    ):
        command = option(command)
    return command


def generation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say how to generate; what is not given comes from the checkpoint."""
    for option in reversed(
        (
            click.option("--max_new_tokens", type=int, help="At most so many tokens (1024)."),
            click.option(
                "--do_sample", is_flag=True, default=None, help="Draw tokens instead of taking the likeliest."
            ),
            click.option("--temperature", type=float, help="Above 0 draws tokens; 0 is greedy, the default."),
            click.option("--top_k", type=int, help="Draw from the k likeliest tokens; 0 is all."),
            click.option("--top_p", type=float, help="Draw from the likeliest tokens that sum up to p."),
            click.option("--min_p", type=float, help="Drop tokens less likely than this share of the likeliest."),
            click.option("--repetition_penalty", type=float, help="Above 1 avoids tokens already in the answer."),
            click.option("--min_new_tokens", type=int, help="No end before so many tokens."),
            click.option("--num_beams", type=int, help="Beam search, by transformers' engine; cannot stream."),
            click.option(
                "--engine",
                type=click.Choice(["auto", "native", "transformers"]),
                default="auto",
                show_default=True,
                help="Who generates.",
            ),
            click.option("--time_limit_s", type=float, help="End the answer after so many seconds."),
            click.option("--seed", type=int, help="Make random draws repeatable."),
            click.option("--stop_string", "stop_strings", multiple=True, help="End before this text; repeatable."),
        )
    ):
        command = option(command)
    return command


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say how to watch and what to print."""
    for option in reversed(
        (
            click.option("--streaming", is_flag=True, help="Print the answer as it is made."),
            click.option("--enable_callbacks", is_flag=True, help="Call callbacks: progress and performance."),
            click.option(
                "--callback",
                multiple=True,
                metavar="NAME[:KEY=VALUE,…]",
                help="Call this callback; repeatable. See vita-demo callbacks.",
            ),
            click.option("--strict_callbacks", is_flag=True, help="Let a callback's error end the answer."),
            click.option("--show_state", is_flag=True, help="Print the model's state token before the answer."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the text."),
            click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        )
    ):
        command = option(command)
    return command


class DefaultGroup(click.Group):
    """A group whose first command needs no name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command's name in front of flags that are not the group's own."""
        if not args or (args[0] not in self.commands and args[0] != "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="vita-demo")
def cli() -> None:
    """Run and watch VITA-1.5."""


@cli.command(context_settings=SETTINGS)
@media_options
@model_options
@generation_options
@output_options
def run(**flags: Any) -> None:
    """Ask VITA-1.5 about a picture, a video or a voice, and watch it answer.

    Without --model_path a miniature runs that ships with the package.  `vita-demo callbacks` lists the callbacks.
    """
    request = make_request(flags)
    check_model_type(flags)
    console = Console()
    console.handle_logs()
    if flags["model_path"] == EMBEDDED:
        console.warn(NOTICE)

    from vita_demo.demo import Demo

    Demo(flags, console).run(request, lambda settings: make_options(flags, settings))


@cli.command(context_settings=SETTINGS)
def callbacks() -> None:
    """List the callbacks and their options."""
    from vita_demo.generation.callback_registry import describe

    click.echo(describe())


def make_request(flags: dict[str, Any]) -> Request:
    """Build the request out of the flags."""
    return Request(
        question=flags["question"],
        image_paths=flags["image_path"],
        video_path=flags["video_path"],
        audio_path=flags["audio_path"],
        fps=flags["fps"],
        max_frames=flags["max_frames"],
        start_s=flags["start"],
        end_s=flags["end"],
        frame_cat=flags["frame_cat"],
    )


def check_model_type(flags: dict[str, Any]) -> None:
    """Refuse the models of the original demo that are not VITA-1.5.

    Raises:
        InputError: naming the flag to give instead.
    """
    if flags["model_base"]:
        raise InputError(
            f"--model_base {flags['model_base']}: LoRA weights must be merged first; give the result as --model_path"
        )
    for flag in ("model_type", "conv_mode"):
        if flags[flag] != MODEL_TYPE:
            raise InputError(
                f"--{flag} {flags[flag]}: this demo runs VITA-1.5 only; give --{flag} {MODEL_TYPE} or leave it out"
            )


def make_options(flags: dict[str, Any], settings: "Settings") -> "GenerationOptions":
    """Combine the flags with the checkpoint's defaults."""
    from vita_demo.generation.options import DEFAULT_STOP_STRINGS, GenerationOptions

    names = ("max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
             "min_new_tokens", "num_beams", "engine", "time_limit_s", "strict_callbacks", "seed")  # fmt: skip
    stops = DEFAULT_STOP_STRINGS + flags["stop_strings"]
    explicit = {name: flags[name] for name in names}
    return GenerationOptions.resolve(settings.config.generation_defaults, **explicit, stop_strings=stops)


def main() -> NoReturn:
    """Run the command line; errors are one line on stderr, exit codes 0, 1, 2 and 130."""
    debug = "--debug" in sys.argv
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except VitaDemoError as error:
        if debug:
            raise
        Console().error(str(error))
        sys.exit(error.exit_code)
    sys.exit(0)
