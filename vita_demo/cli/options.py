"""The flags, in groups that commands share, and what they become."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.checkpoint.source import ModelSource
from vita_demo.cli.command import Once, option_group
from vita_demo.errors import InputError
from vita_demo.files.local import expand, is_url
from vita_demo.files.typed import STDIN, typed_path, typed_text
from vita_demo.generation.options import DEFAULT_STOP_STRINGS, GenerationOptions
from vita_demo.prompt import MODEL_TYPE
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.checkpoint.settings import Settings

EXAMPLES = """\b
Examples:
  vita-demo --image_path photo.jpg --question "Describe this image." --streaming
  vita-demo --video_path clip.mp4 --start 10 --end 20 --question "What happens?"
  vita-demo --audio_path question.wav --json
  vita-demo --config streaming --image_path photo.jpg --question "What is this?"
"""


class _File(click.Path):
    """A path, with ``~`` expanded also where no shell does it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return expand(Path(os.fsdecode(super().convert(value, param, ctx))))


class _Given(_File):
    """A path, or what ``typed_path`` makes one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        is_text = isinstance(value, str) and (value.startswith("data:") or is_url(value))
        return value if is_text else super().convert(value, param, ctx)


FILE, GIVEN = _File(), _Given()

url_options = (
    click.option("--allow_url", is_flag=True, help="Fetch files that are given as http or https addresses."),
    click.option("--allow_private_url", is_flag=True, help="Also from this machine and its network."),
)
sampling_options = (
    click.option("--fps", default=1.0, show_default=True, help="Video frames sampled per second."),
    click.option("--max_frames", default=16, show_default=True, help="At most so many video frames."),
    click.option("--start", type=float, help="Where in the video to start, in seconds."),
    click.option("--end", type=float, help="Where in the video to end, in seconds."),
)

media_options = option_group(
    "What is asked",
    click.option("--question", cls=Once, default="", help="What to ask: a text, @FILE or -; a sound can ask it too."),
    click.option("--image_path", type=GIVEN, multiple=True, help="A picture; may be given several times."),
    click.option("--video_path", cls=Once, type=GIVEN, help="A video, or a folder of pictures as its frames."),
    click.option("--audio_path", cls=Once, type=GIVEN, help="A sound file, or a video whose sound track is heard."),
    *url_options,
    *sampling_options,
    click.option("--frameCat", "frame_cat", is_flag=True, help="For checkpoints that join five frames."),
)

model_options = option_group(
    "Model",
    click.option("--model_path", default=EMBEDDED, show_default=True, help="A checkpoint's folder or hub id."),
    click.option("--model_base", help="Not supported: merge LoRA weights first."),
    click.option("--model_type", default=MODEL_TYPE, show_default=True, help="Only this one."),
    click.option("--conv_mode", default=MODEL_TYPE, show_default=True, help="Only this one."),
    click.option("--vision_tower", type=FILE, help="Folder of the vision encoder's settings."),
    click.option("--audio_encoder", type=FILE, help="Folder of the audio encoder's settings."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16 or bfloat16."),
    click.option("--quantize", metavar="FORMAT", help="int8 or int4: hold the language model in so few bits."),
    click.option("--threads", type=int, help="Threads that compute on the CPU; by default one a physical core."),
)

generation_options = option_group(
    "Generation",
    click.option("--max_new_tokens", type=int, help="At most so many tokens (1024)."),
    click.option("--do_sample", is_flag=True, default=None, help="Draw tokens instead of taking the likeliest."),
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
    click.option(
        "--speculate",
        type=int,
        metavar="N",
        help="Check N tokens guessed from the text so far in one pass: faster where answers repeat it, else slower.",
    ),
    click.option("--time_limit_s", type=float, help="End the answer after so many seconds."),
    click.option("--seed", type=int, help="Make random draws repeatable."),
    click.option(
        "--top_logprobs",
        type=int,
        metavar="N",
        help="Report each token's log-probability and the N likeliest, in JSON.",
    ),
    click.option("--stop_string", "stop_strings", multiple=True, help="End before this text; repeatable."),
)

ray_option = click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Run on a Ray cluster: HOST:PORT, auto for one that runs here; without ADDRESS it starts one here.",
)

output_options = option_group(
    "Watching and printing",
    click.option("--streaming", is_flag=True, help="Print the answer as it is made."),
    click.option("--enable_callbacks", is_flag=True, help="Call callbacks: progress and performance."),
    click.option(
        "--callback",
        multiple=True,
        metavar="NAME[:KEY=VALUE,…]",
        help="Call this callback; repeatable. See vita-demo callbacks.",
    ),
    click.option("--strict_callbacks", is_flag=True, help="Let a callback's error end the answer."),
    click.option(
        "--show_state",
        is_flag=True,
        help="Print first what the model took the query for: ☜ typed text, ☞ speech, ☟ noise.",
    ),
    click.option("--markdown", "as_markdown", is_flag=True, help="Render the answer as Markdown, at its end."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the text."),
    click.option("--jsonl", "as_jsonl", is_flag=True, help="Print one event a line, as JSON."),
    click.option("--save_run", type=FILE, metavar="DIR", help="Keep all that is needed to replay this run."),
    click.option("--overwrite", is_flag=True, help="Let --save_run replace a run."),
    click.option("--quiet", is_flag=True, help="Say only warnings and errors beside the answer."),
    click.option("--verbose", is_flag=True, help="Say also which settings and weights answer."),
)


def make_request(flags: dict[str, Any]) -> Request:
    """Build the request out of the flags.

    Raises:
        InputError: when it cannot be answered.
        MediaError: when a file cannot be fetched.
    """
    check_one_stdin(flags["question"], *flags["image_path"], flags["video_path"], flags["audio_path"])

    def file(flag: str) -> Path | None:
        return None if flags[flag] is None else typed_file(flags[flag], f"--{flag}", flags)

    return Request(
        question=typed_text(flags["question"], "--question"),
        image_paths=tuple(typed_file(given, "--image_path", flags) for given in flags["image_path"]),
        video_path=file("video_path"),
        audio_path=file("audio_path"),
        fps=flags["fps"],
        max_frames=flags["max_frames"],
        start_s=flags["start"],
        end_s=flags["end"],
        frame_cat=flags["frame_cat"],
    )


def check_one_stdin(*given: object) -> None:
    """Refuse that several flags read stdin.

    Raises:
        InputError: when there is more than one ``-``.
    """
    count = sum(str(value) == STDIN for value in given)
    if count > 1:
        raise InputError(f"{STDIN} was given {count} times, and stdin can be read once; give files for the others")


def typed_file(given: str | Path, flag: str, flags: dict[str, Any]) -> Path:
    """Return the file that a flag names; see ``typed_path``."""
    return typed_path(given, flag, **{name: flags[name] for name in ("allow_url", "allow_private_url")})


def make_source(flags: Mapping[str, Any]) -> ModelSource:
    """Name the model that the flags ask for.

    Raises:
        InputError: for models of the original demo that are not VITA-1.5, and for unknown devices and formats.
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
    return ModelSource(**{field.name: flags[field.name] for field in fields(ModelSource)})


def make_options(flags: Mapping[str, Any], settings: "Settings") -> GenerationOptions:
    """Combine the flags with the checkpoint's defaults.

    Raises:
        ConfigError: when they contradict each other.
    """
    options = GenerationOptions.resolve(settings.config.generation_defaults, **given_options(flags))
    options.check_quantized(flags["quantize"])
    return options


def given_options(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flags say of the generation, by the names of ``GenerationOptions``; None was not given."""
    names = ("max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
             "min_new_tokens", "num_beams", "engine", "speculate", "time_limit_s", "seed",
             "top_logprobs", "strict_callbacks")  # fmt: skip
    stops = DEFAULT_STOP_STRINGS + flags["stop_strings"]
    return {**{name: flags.get(name) for name in names}, "stop_strings": stops}
