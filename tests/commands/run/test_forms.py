"""The forms of the answer, presets, saved runs, completion, and a real terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ASSETS, ROOT, Run
from vita_demo.commands.run.replay import replay
from vita_demo.model.ops.cpu_profile import cpu_profile
from vita_demo.pipeline import Pipeline

Vita = Callable[..., Run]
ASK = ("--question", "Describe this image.", "--image_path", ASSETS / "scene.png", "--max_new_tokens", 12)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float32_on_the_cpu")]


def test_jsonl_is_one_event_a_line_and_the_report_last(vita: Vita) -> None:
    lines = [json.loads(line) for line in vita(*ASK, "--jsonl").out.splitlines()]
    assert [line["event"] for line in lines] == ["token"] * 12 + ["end", "answer"]
    assert "".join(line["text"] for line in lines[:13]) == lines[-1]["text"]
    assert [line["id"] for line in lines[:12]] == lines[-1]["token_ids"]


def test_markdown_is_left_alone_away_from_a_terminal(vita: Vita) -> None:
    assert vita(*ASK, "--markdown").out == vita(*ASK).out


def test_two_forms_at_once_are_refused(vita: Vita) -> None:
    run = vita(*ASK, "--json", "--jsonl")
    assert "choose one form" in run.error
    assert run.code == 2


def test_quiet_says_nothing_and_verbose_says_more(vita: Vita) -> None:
    assert vita(*ASK, "--quiet").err == ""
    err = vita(*ASK, "--verbose").err
    assert "vision settings:" in err
    assert "float32 on cpu" in err


@pytest.mark.parametrize("flags", [(), ("--temperature", 1.5, "--min_new_tokens", 12)])
def test_a_saved_run_replays_to_the_same_tokens(vita: Vita, tmp_path: Path, flags: tuple) -> None:
    first = vita(*ASK, *flags, "--json", "--save_run", tmp_path / "run").json
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["report"]["token_ids"] == first["token_ids"]
    assert saved["options"]["max_new_tokens"] == 12
    assert {name: saved["model"][name] for name in ("device", "dtype", "threads")} == {
        "device": "cpu", "dtype": "float32", "threads": torch.get_num_threads(),
    }  # fmt: skip
    assert len((tmp_path / "run" / "events.jsonl").read_text().splitlines()) == 13
    again = vita("replay", tmp_path / "run")
    assert again.code == 0
    assert "the same 12 tokens again" in again.err


def test_a_replay_that_differs_says_where_and_exits_1(vita: Vita, tmp_path: Path) -> None:
    vita(*ASK, "--save_run", tmp_path)
    path = tmp_path / "run.json"
    saved = json.loads(path.read_text())
    saved["report"]["token_ids"][4] += 1
    path.write_text(json.dumps(saved))
    run = vita("replay", tmp_path)
    assert run.code == 1
    assert "part at token 4" in run.error


def test_a_replay_rounds_as_the_run_did(vita: Vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vita(*ASK, "--save_run", tmp_path)
    path = tmp_path / "run.json"
    saved = json.loads(path.read_text())
    choices = {"gemv_stripes_small": False, "decodes_bfloat16": True}
    saved["report"]["host"]["cpu_profile"] = {"machine": "another", **choices}
    path.write_text(json.dumps(saved))
    used = []
    monkeypatch.setattr(Pipeline, "of", lambda source: used.append((source, cpu_profile().choices)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        replay(tmp_path)
    [(source, profile)] = used
    assert (source.device, source.dtype) == ("cpu", "float32")
    assert profile == choices
    assert cpu_profile().machine != "another"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "holds no run.json"), ("{", "cannot be read"), ("{}", "cannot be read")]
)
def test_folders_without_a_run_are_refused(vita: Vita, tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    run = vita("replay", tmp_path)
    assert words in run.error
    assert run.code == 2


def test_a_preset_is_weaker_than_environment_and_flag(
    vita: Vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('max_new_tokens = 3\nquestion = "hi"\njson = true\n')
    assert len(vita("--config", preset).json["token_ids"]) == 3
    monkeypatch.setenv("VITA_DEMO_MAX_NEW_TOKENS", "4")
    assert len(vita("--config", preset).json["token_ids"]) == 4
    assert len(vita("--config", preset, "--max_new_tokens", 5).json["token_ids"]) == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [("max_new_token = 3", "did you mean max_new_tokens"), ("=", "cannot be read"), (None, "cannot be read")],
)
def test_a_preset_with_mistakes_is_refused(vita: Vita, tmp_path: Path, content: str | None, words: str) -> None:
    preset = tmp_path / "mine.toml"
    if content is not None:
        preset.write_text(content)
    run = vita("--config", preset)
    assert words in run.error
    assert run.code == 2


def test_every_shipped_preset_runs(vita: Vita) -> None:
    for preset in (ROOT / "configs" / "presets").glob("*.toml"):
        assert vita("--config", preset.stem, *ASK).code == 0
    assert "presets are creative, pipeline, streaming" in vita("--config", "nothing").error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_flags_and_commands(shell: str) -> None:
    def complete(words: str, count: int) -> str:
        environment = {**os.environ, "_VITA_DEMO_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
        environment["COMP_CWORD"] = words.rsplit(" ", 1)[-1] if shell == "fish" else str(count)
        command = [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'vita-demo'; from vita_demo.cli import main; main()",
        ]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

    assert "--image_path" in complete("vita-demo --ima", 1)
    assert "callbacks" in complete("vita-demo call", 1)


def read_all(descriptor: int) -> bytes:
    content = b""
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:
            return content
        if not block:
            return content
        content += block


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_gets_on_stdout_the_answer_and_a_line_end_and_nothing_else(vita: Vita) -> None:
    import pty
    import threading

    expected = vita(*ASK).out.replace("\n", "\r\n").encode()
    pairs = [pty.openpty(), pty.openpty()]
    command = [sys.executable, "-m", "vita_demo", *map(str, ASK), "--streaming", "--enable_callbacks"]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdout=pairs[0][1], stderr=pairs[1][1], env=environment)
    contents: list[bytes] = [b"", b""]

    def read(number: int) -> None:
        contents[number] = read_all(pairs[number][0])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    assert process.wait() == 0
    for _, slave in pairs:
        os.close(slave)
    for thread in threads:
        thread.join()
    for master, _ in pairs:
        os.close(master)
    assert contents[0] == expected
    assert b"tokens of" in contents[1] or b"of at most 12 tokens" in contents[1]
    assert b"finished by length" in contents[1]


def test_help_names_every_command_and_its_examples_are_real(vita: Vita) -> None:
    from vita_demo.cli import cli

    text = vita("--help").out
    assert all(f"  {name} " in text for name in cli.commands if name != "run")
    examples = [line.split() for line in text.splitlines() if line.strip().startswith("vita-demo --")]
    assert len(examples) == 4
    options = {name for parameter in cli.commands["run"].params for name in parameter.opts}
    for example in examples:
        assert {word for word in example if word.startswith("--")} <= options
