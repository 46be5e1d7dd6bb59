"""The command line as a user meets it: the answer on stdout, all else on stderr, one line for each mistake."""

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from tests.conftest import ASSETS, Run, copy_checkpoint

Vita = Callable[..., Run]
SCENE = ("--image_path", ASSETS / "scene.png", "--question", "Describe this image.", "--max_new_tokens", 12)
pytestmark = pytest.mark.usefixtures("float32_on_the_cpu")


def test_streamed_and_whole_answers_are_the_same(vita: Vita) -> None:
    whole, streamed = vita(*SCENE), vita(*SCENE, "--streaming")
    assert whole.code == streamed.code == 0
    assert whole.out == streamed.out
    assert whole.out.endswith("\n")
    assert vita(*SCENE, "--json").json["text"] + "\n" == whole.out


def test_stderr_says_what_was_used_and_how_fast(vita: Vita) -> None:
    err = vita(*SCENE).err
    assert "vita-tiny knows only simple shapes" in err
    assert "image scene.png: 640 × 480 pixels in 4 × 3 tiles" in err
    assert "first token" in err
    assert "decode 12 tokens at" in err
    assert "finished by length" in err


def test_json_has_the_documented_keys(vita: Vita) -> None:
    clip = ("--video_path", ASSETS / "moving.mp4", "--audio_path", ASSETS / "question.wav")
    answer = vita(*clip, "--max_new_tokens", 5, "--json").json
    assert list(answer) == [
        "schema_version", "text", "state", "token_ids", "prompt_tokens", "image_tokens", "audio_tokens", "frames",
        "finish_reason", "metrics", "model", "host", "request",
    ]  # fmt: skip
    assert answer["schema_version"] == 1
    assert len(answer["token_ids"]) == 5
    assert answer["frames"] == 5
    assert answer["image_tokens"] == 5 * 16
    assert answer["prompt_tokens"] > answer["image_tokens"] + answer["audio_tokens"] > 60
    metrics = answer["metrics"]
    assert set(metrics["stages"]) == {"load", "media", "vision", "audio", "prefill", "decode", "callbacks"}
    assert metrics["ttft_s"] > metrics["ttft_model_s"] > metrics["stages"]["prefill"] > 0
    assert metrics["bandwidth_fraction"] > 0
    assert answer["model"]["engine"] == "native"
    other = vita("--question", "hi", "--max_new_tokens", 2, "--engine", "transformers", "--json").json
    assert other["model"]["engine"] == "transformers"


def test_kebab_case_and_environment_are_understood(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    kebab = vita("--image-path", ASSETS / "scene.png", "--question", "Describe this image.", "--max-new-tokens", 12)
    assert kebab.out == vita(*SCENE).out
    monkeypatch.setenv("VITA_DEMO_MAX_NEW_TOKENS", "3")
    assert "decode 3 tokens" in vita("--question", "hi").err
    assert "decode 4 tokens" in vita("--question", "hi", "--max_new_tokens", 4).err


def test_the_flags_of_the_original_demo_are_taken(vita: Vita) -> None:
    run = vita(*SCENE, "--model_type", "qwen2p5_instruct", "--conv_mode", "qwen2p5_instruct")
    assert run.out == vita(*SCENE).out


def test_a_seed_repeats_a_drawn_answer(vita: Vita) -> None:
    drawn = [vita(*SCENE, "--temperature", 9, "--seed", seed).out for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_several_pictures_are_seen(vita: Vita) -> None:
    answer = vita(*SCENE, "--image_path", ASSETS / "scene.png", "--json").json
    assert answer["image_tokens"] == 2 * 13 * 16


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "nothing to answer"),
        (("--question", "?", "--image_path", "gone.png"), 2, "gone.png does not exist"),
        (("--question", "?", "--model_path", "no/such/folder"), 2, "no/such/folder does not exist"),
        (("--question", "?", "--model_path", "/"), 1, "no config.json"),
        (
            ("--question", "?", "--model_path", "owner/name"),
            1,
            "owner/name cannot be downloaded (it is not in the local hub cache, and HF_HUB_OFFLINE is set)",
        ),
        (("--question", "?", "--model_type", "mixtral-8x7b"), 2, "give --model_type qwen2p5_instruct"),
        (("--question", "?", "--conv_mode", "plain"), 2, "give --conv_mode qwen2p5_instruct"),
        (("--question", "?", "--model_base", "x"), 2, "merged"),
        (("--question", "?", "--device", "abacus"), 2, "--device abacus is unknown"),
        (("--question", "?", "--device", "meta"), 2, "--device meta is unknown"),
        (("--question", "?", "--device", "cuda:99"), 2, "--device cuda:99 is not there"),
        (("--question", "?", "--dtype", "int3"), 2, "--dtype int3 is unknown"),
        (("--question", "?", "--max_new_tokens", 0), 2, "--max_new_tokens 0 must be"),
        (("--question", "?", "--temperature", 1, "--top_p", 7), 2, "--top_p 7"),
        (("--question", "?", "--frameCat"), 2, "joins five frames"),
        (("--question", "?", "--temperature", -1), 2, "--temperature -1.0 must be 0 (greedy) or more"),
        (("--question", "?", "--max_new_tokens", "x"), 2, "'x' is not a valid integer"),
        (("--question", "?", "--streming"), 2, "--streming is no option; did you mean --streaming?"),
        (("--qestion", "?"), 2, "--qestion is no option; did you mean --question?"),
        (("--zzz", "?"), 2, "--zzz is no option; vita-demo run --help lists the options"),
        (
            ("inspect", "--image_path", "x.png"),
            2,
            "--image_path is no option of vita-demo inspect; give the file by itself",
        ),
        (("inspect",), 2, "FILE… is missing; write vita-demo inspect FILE…"),
        (("replay",), 2, "DIR is missing; write vita-demo replay DIR"),
        (("--question", "?", "--image_path", ASSETS / "question.wav"), 2, "is a sound file; give it as --audio_path"),
        (("--question", "?", "--image_path", "https://example.org/x.png"), 2, "is a URL; give --allow_url to fetch it"),
        (("--question", "-", "--image_path", "-"), 2, "- was given 2 times, and stdin can be read once"),
        (("--question", "?", "--image_path", "a" * 5000), 2, "cannot be read (File name too long)"),
        (("--question", "?", "--video_path", "a" * 5000), 2, "cannot be read (File name too long)"),
        (("--question", "?", "--save_run", "/dev/null/x"), 2, "--save_run /dev/null/x cannot be written"),
        (("inspect", "a" * 5000), 2, "cannot be read (File name too long)"),
        (("--question", "@gone.txt"), 2, "--question @gone.txt cannot be read"),
        (("--question", "?", "--quantize", "int3"), 2, "--quantize int3 is unknown"),
        (("--question", "?", "--callback", "progress:every=5"), 2, "every is none of its options (max_tokens,"),
        (("--question", "?", "--question", "!"), 2, "--question was given twice"),
        (("--audio_path", "a.wav", "--audio-path", "b.wav"), 2, "--audio_path was given twice"),
        (("--question", "?", "--end", "inf"), 2, "--end inf is no finite number"),
        (("insepct", "x.png"), 2, "insepct is no command; did you mean inspect?"),
        (("photo.jpg",), 2, "photo.jpg is no command; commands are run, chat"),
    ],
)
def test_mistakes_get_one_line_and_their_exit_code(vita: Vita, arguments: tuple, code: int, words: str) -> None:
    run = vita(*arguments)
    assert words in run.error
    assert run.code == code
    assert run.out == ""
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    "mistake", [("--image_path", "gone.png"), ("--dtype", "int3"), ("--callback", "prgress"), ("--top_p", 7)]
)
def test_an_error_comes_before_the_model_is_introduced(vita: Vita, mistake: tuple) -> None:
    assert vita("--question", "?", *mistake).err.startswith("error: ")


def test_every_flag_can_be_switched_off(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    from vita_demo.cli import cli

    flags = [(command, p) for command in cli.commands.values() for p in command.params if getattr(p, "is_flag", False)]
    assert len(flags) > 10
    for command, flag in flags:
        no = f"--no-{flag.opts[0].lstrip('-')}"
        needed = {"batch": ["x", "--output", "y.jsonl"]}.get(command.name, ["x"])
        arguments = [flag.opts[0], no, *(needed if command.params[0].param_type_name == "argument" else [])]
        assert command.make_context("x", arguments).params[flag.name] is False
    monkeypatch.setenv("VITA_DEMO_JSON", "1")
    hi = ("--question", "hi", "--max_new_tokens", 3)
    assert vita(*hi).json["text"] == "Hello!"
    assert vita(*hi, "--no-json").out == "Hello!\n"
    assert vita("--config", "pipeline", *hi, "--no_json", "--no-quiet").out == "Hello!\n"


@pytest.mark.parametrize("name", ["json", "jsonl", "markdown", "stop_string", "frameCat", "debug", "streaming"])
def test_every_option_is_a_variable_named_as_it_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from vita_demo.cli import cli

    monkeypatch.setenv(f"VITA_DEMO_{name.upper()}", "1")
    parameter = next(p for p in cli.commands["run"].params if f"--{name}" in p.opts)
    value = cli.commands["run"].make_context("run", []).params[parameter.name]
    assert value in (True, ("1",))


@pytest.mark.parametrize("filters", [("--top_p", 0.9), ("--top_k", 5), ("--min_p", 0.01)])
def test_filters_draw_without_a_temperature(vita: Vita, tmp_path: Path, filters: tuple) -> None:
    folder = tmp_path / "run"
    assert vita("--question", "hi", "--max_new_tokens", 2, *filters, "--save_run", folder).code == 0
    options = json.loads((folder / "run.json").read_text())["options"]
    assert options["do_sample"]
    assert options["seed"] is not None


def test_what_is_read_is_never_written(vita: Vita, tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    picture.write_bytes((ASSETS / "scene.png").read_bytes())
    other_name = tmp_path / "no" / ".." / "p.png"
    (tmp_path / "no").mkdir()
    for arguments in (
        ("inspect", picture, "--output", other_name),
        ("--question", "?", "--image_path", picture, "--callback", f"file:path={other_name}"),
    ):
        run = vita(*arguments)
        assert run.code == 2
        assert "is the file that is read" in run.error
    assert picture.read_bytes() == (ASSETS / "scene.png").read_bytes()


def test_unknown_flags_are_bad_usage(vita: Vita) -> None:
    run = vita("--imagepath", "x")
    assert run.code == 2
    assert "--image_path" in run.err


def test_media_that_cannot_be_read_get_one_line(vita: Vita, tmp_path: Path) -> None:
    text = tmp_path / "x.txt"
    text.write_text("hello")
    for flag in ("--image_path", "--video_path", "--audio_path"):
        run = vita("--question", "?", flag, text)
        assert "x.txt" in run.error
        assert run.code == 1
    text.write_text("")
    assert "is empty" in vita("--question", "?", "--image_path", text).error
    soundfile.write(tmp_path / "x.wav", np.zeros(100), 16000)
    assert "too short" in vita("--audio_path", tmp_path / "x.wav").error


def test_a_single_pixel_is_answered_with_a_word(vita: Vita, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "x.png")
    run = vita("--question", "?", "--image_path", tmp_path / "x.png", "--max_new_tokens", 2)
    assert run.code == 0
    assert "smaller than one patch" in run.err


def test_a_prompt_longer_than_the_context_is_refused(vita: Vita, tmp_path: Path, embedded_pipeline) -> None:
    limits = {"max_position_embeddings": 200, "tokenizer_model_max_length": 150}
    folder = copy_checkpoint(embedded_pipeline.settings.folder, tmp_path / "short", **limits)
    run = vita("--model_path", folder, *SCENE)
    assert "the model has 200: give fewer pictures" in run.error
    assert run.code == 2
    long = vita("--model_path", folder, "--question", "long " * 41)
    assert "trained with up to 150" in long.err
    assert long.code == 0
    assert "finished by length" in long.err


def test_running_out_of_memory_says_what_to_lower(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    from vita_demo.engine.vita import VitaForGeneration

    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(VitaForGeneration, "decoder", fail)
    run = vita(*SCENE)
    assert run.error.startswith("out of memory; lower --max_frames")
    assert run.code == 1


def test_debug_shows_the_traceback_however_it_is_asked_for(
    vita: Vita, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = vita("--debug")
    assert "Traceback" in run.err
    assert run.err.splitlines()[-1].startswith("error: there is nothing to answer")
    assert run.code == 2
    assert "Traceback" not in vita().err
    monkeypatch.setenv("VITA_DEMO_DEBUG", "1")
    assert "Traceback" in vita().err
    monkeypatch.delenv("VITA_DEMO_DEBUG")
    preset = tmp_path / "mine.toml"
    preset.write_text("debug = true\n")
    assert "Traceback" in vita("--config", preset).err


@pytest.mark.parametrize(
    "arguments",
    [
        ("chat", "--load", "gone.json"),
        ("compare", "--question", "?", "--image_path", "gone.png"),
        ("inspect", "gone.png"),
        ("replay", "gone"),
    ],
)
def test_every_command_takes_debug_from_the_environment(
    vita: Vita, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    assert "Traceback" not in vita(*arguments).err
    monkeypatch.setenv("VITA_DEMO_DEBUG", "1")
    assert "Traceback" in vita(*arguments).err


def test_an_interrupt_exits_130(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    from vita_demo.engine.vita import VitaForGeneration

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VitaForGeneration, "decoder", interrupt)
    assert vita(*SCENE).code == 130


def test_an_error_of_a_strict_callback_is_one_line(vita: Vita, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "class Boom:\n    def on_token_generated(self, *_, **__):\n        raise ValueError('it broke')\n",
        encoding="utf-8",
    )
    ask = ("--question", "hi", "--max_new_tokens", 2, "--callback", f"{file}:Boom", "--strict_callbacks")
    run = vita(*ask)
    assert run.code == 1
    assert run.error == "ValueError: it broke; give --debug to see where it comes from"
    assert "Traceback" not in run.err


def test_log_probabilities_are_in_the_json_that_asks_for_them(vita: Vita) -> None:
    hi = ("--question", "hi", "--max_new_tokens", 2)
    answer = vita(*hi, "--json", "--top_logprobs", 2).json
    assert [len(token["alternatives"]) for token in answer["logprobs"]] == [2, 2]
    assert [token["alternatives"][0]["id"] for token in answer["logprobs"]] == answer["token_ids"]
    assert answer["logprobs"][0]["logprob"] == pytest.approx(
        answer["logprobs"][0]["alternatives"][0]["logprob"], abs=1e-6
    )
    assert "logprobs" not in vita(*hi, "--json").json
    token, *_ = map(json.loads, vita(*hi, "--jsonl", "--top_logprobs", 2).out.splitlines())
    assert len(token["alternatives"]) == 2


def test_the_json_names_the_request(vita: Vita) -> None:
    request = vita(*SCENE, "--json").json["request"]
    assert request["question"] == "Describe this image."
    assert request["image_paths"] == [str(ASSETS / "scene.png")]


def test_several_pictures_for_the_miniature_are_remarked_once(vita: Vita) -> None:
    assert "one picture a question" not in vita(*SCENE).err
    assert vita(*SCENE, "--image_path", ASSETS / "scene.png").err.count("one picture a question") == 1


def test_what_stdin_and_files_say_is_asked(vita: Vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = vita("--question", "What can you do?", "--max_new_tokens", 9).out
    (tmp_path / "q.txt").write_bytes("\ufeffWhat can you do?\r\n".encode())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vita("--question", "@~/q.txt", "--max_new_tokens", 9).out == expected
    monkeypatch.setattr(sys, "stdin", io.StringIO("What can you do?\n"))
    assert vita("--question", "-", "--max_new_tokens", 9).out == expected


def test_a_picture_comes_from_stdin_or_a_data_uri(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, content = vita(*SCENE).out, (ASSETS / "scene.png").read_bytes()
    ask = ("--question", "Describe this image.", "--max_new_tokens", 12, "--image_path")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    run = vita(*ask, "-")
    assert run.out == expected
    assert "image stdin: 640 × 480" in run.err
    assert vita(*ask, f"data:image/png;base64,{base64.b64encode(content).decode()}").out == expected


def test_a_tilde_is_expanded_wherever_a_path_is_taken(
    vita: Vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.png").write_bytes((ASSETS / "scene.png").read_bytes())
    (tmp_path / "p.toml").write_text('image_path = "~/p.png"\nsave_run = "~/run"\n')
    picture = ("--question", "?", "--max_new_tokens", 1)
    callback = ("--callback", "file:path=~/answer.txt")
    assert vita("--config=~/p.toml", *picture, *callback).code == 0
    assert (tmp_path / "run" / "run.json").exists()
    assert (tmp_path / "answer.txt").exists()
    assert vita("inspect", "~/p.png", "--output", "~/seen.png").code == 0
    assert (tmp_path / "seen.png").exists()
    assert vita(*picture, "--vision_tower", "~/none").error.count(str(tmp_path)) == 1
