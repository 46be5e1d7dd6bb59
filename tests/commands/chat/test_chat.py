"""The chat as a user meets it: through a pipe, and at a terminal."""

import base64
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ASSETS, ROOT, Run
from vita_demo.commands.chat.saved_chat import read_chat
from vita_demo.console.line_reader import PlainReader
from vita_demo.conversation import Conversation
from vita_demo.errors import InputError
from vita_demo.generation.events import answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request

Talk = Callable[..., Run]
SCENE, CLIP, VOICE = ASSETS / "scene.png", ASSETS / "moving.mp4", ASSETS / "question.wav"


@pytest.fixture
def talk(vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, float32_on_the_cpu: None) -> Talk:
    """Chat through standard input, eight tokens an answer."""

    def run(*lines: object, flags: tuple[object, ...] = ()) -> Run:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return vita("chat", "--max_new_tokens", 8, *flags)

    return run


def errors(run: Run) -> list[str]:
    return [line.removeprefix("error: ") for line in run.err.splitlines() if line.startswith("error: ")]


def test_answers_go_to_stdout_and_all_else_to_stderr(talk: Talk, embedded_pipeline: Pipeline) -> None:
    run = talk("hi", "And now?", "/stats")
    assert run.code == 0
    conversation = Conversation(embedded_pipeline)

    for question in ("hi", "And now?"):
        list(conversation.ask(Request(question=question), GenerationOptions(max_new_tokens=8)))
    assert run.out == "".join(turn.answer.text + "\n" for turn in conversation.turns)
    assert "› And now?" in run.err
    first, second = (turn.answer.stats.prompt_positions for turn in conversation.turns)
    reused = conversation.turns[1].answer.prompt.cached_tokens
    assert f"positions: {second:,} computed, {reused:,} cached" in run.err
    assert re.search(rf"1 +hi +0 +{first} .* s +[\d,.]+ +length", run.err)
    assert re.search(rf"2 +And now\? +{reused} +{second} .* s +[\d,.]+ +length", run.err)


def test_attached_files_go_with_one_question(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    spaced = tmp_path / "two words.png"
    spaced.write_bytes(SCENE.read_bytes())
    run = talk(
        f"/image {SCENE}", f"/image {spaced}", "Which?", f"/audio {VOICE}", "", "", "bare", f"/video {CLIP}", "Moves?",
        f'/image {SCENE} "{spaced}"', "Both?", f"/save {file}", "/exit", "never asked",
    )  # fmt: skip
    assert errors(run) == []
    _, turns = read_chat(file)
    assert [turn.request.question for turn in turns] == ["Which?", "", "bare", "Moves?", "Both?"]
    assert turns[0].request.image_paths == turns[4].request.image_paths == (SCENE, spaced)
    assert turns[1].request.audio_path == VOICE
    assert turns[2].request.image_paths == () == turns[1].request.image_paths
    assert turns[3].request.video_path == CLIP
    assert "audio question.wav: 2.1 s" in run.err
    assert run.out.count("\n") == 5


def test_a_saved_chat_goes_on_exactly(talk: Talk, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("whole.json", "half.json", "flag.json", "command.json")]
    talk(f"/image {SCENE}", "What is this?", "hi", f"/save {files[1]}", "And now?", f"/save {files[0]}")
    talk("And now?", f"/save {files[2]}", flags=("--load", files[1]))
    loaded = talk("to be replaced", f"/load {files[1]}", "/stats", "And now?", f"/save {files[3]}")
    assert "loaded 2 turns" in loaded.err
    whole, *others = [json.loads(files[index].read_text()) for index in (0, 2, 3)]
    assert len(whole["turns"]) == 3
    assert others == [whole, whole]
    assert set(whole["turns"][0]) == {
        "question", "image_paths", "video_path", "audio_path", "fps", "max_frames", "start_s", "end_s", "frame_cat",
        "text", "token_ids", "finish_reason", "state",
    }  # fmt: skip


def test_undo_and_regen_and_system(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    run = talk(
        "Hello!",
        "What can you do?",
        "/undo",
        "/regen",
        f"/save {file}",
        "/system You are a pirate.",
        "two",
        f"/save {file}",
    )
    answers = run.out.splitlines()
    assert answers[2] == answers[0] != answers[1]
    assert "took back: What can you do? · turns left: 1" in run.err
    assert "positions: 1 computed" in run.err
    system, turns = read_chat(file)
    assert system == "You are a pirate."
    assert [turn.request.question for turn in turns] == ["two"]
    assert talk("two", flags=("--system", "You are a pirate.")).out == answers[3] + "\n"


def test_mistakes_get_one_line_and_the_chat_goes_on(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    lines = {
        "/imge x": "/imge is no command; did you mean /image?",
        "/zzz": "/help lists them",
        "/image": "/image needs a path after it",
        "/image gone.png": "gone.png: there is no such file",
        '/image "gone': "No closing quotation",
        f"/image {VOICE}": f"/image {VOICE} is a sound file; give it as /audio",
        f"/image {broken}": "broken.png is not in a picture format",
        f"/audio {broken}": "broken.png cannot be decoded",
        f"/video {VOICE}": "is a sound file; give it as /audio",
        "/image https://example.org/x.png": "is a URL; give --allow_url",
        "/audio " + "x" * 5000: "there is no such file",
        f"/video {CLIP} {CLIP}": "/video takes one path, not 2",
        "/undo 3": "nothing goes after /undo",
        "/undo": "no turn to take back",
        "/regen": "no answer to make again",
        "/stats": "there are no turns yet",
        f"/load {broken}": "broken.png is no saved conversation",
        f"/save {broken}": "broken.png is there already",
        f"/save {tmp_path}/no/folder": "No such file or directory",
    }
    monkeypatch.setattr(PlainReader, "interactive", True)
    run = talk(*lines, f"/image {SCENE}", f"/video {CLIP}", "hi")
    told = errors(run)
    assert len(told) == len(lines) + 1
    for error, words in zip(told, [*lines.values(), "do not go together"], strict=True):
        assert words in error
    assert broken.read_text() == "no picture"
    assert "image scene.png" in run.err
    assert run.out.count("\n") == 1
    assert "Traceback" not in run.err
    assert "Traceback" in talk("/undo", flags=("--debug",)).err


def test_a_piped_chat_stops_at_its_first_mistake(talk: Talk) -> None:
    run = talk("hi", "/image gone.png", "What is this?")
    assert run.code == 1
    assert "gone.png: there is no such file" in run.error
    assert run.out.count("\n") == 1


def test_what_is_attached_survives_a_refused_question_until_it_is_detached(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Conversation.ask

    def refuse(conversation: Conversation, request: Request, *arguments: object, **more: object) -> object:
        if request.question == "refused?":
            raise InputError("not now")
        return ask(conversation, request, *arguments, **more)

    monkeypatch.setattr(Conversation, "ask", refuse)
    monkeypatch.setattr(PlainReader, "interactive", True)
    file = tmp_path / "chat.json"
    run = talk(
        f"/image {SCENE}", "refused?", "What?", f"/image {SCENE}", "/detach", "/detach", "bare", f"/save {file}",
        "/quit", "never asked",
    )  # fmt: skip
    assert run.error == "not now"
    assert "detached scene.png" in run.err
    assert "nothing was attached" in run.err
    _, turns = read_chat(file)
    assert [len(turn.request.image_paths) for turn in turns] == [1, 0]


def test_a_chat_about_what_came_from_no_file_is_not_saved(talk: Talk, tmp_path: Path) -> None:
    picture = base64.b64encode(SCENE.read_bytes()).decode()
    run = talk(f"/image data:image/png;base64,{picture}", "What?", f"/save {tmp_path / 'x'}")
    assert "data came from no file, so the conversation cannot be saved" in run.error
    assert run.out.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--num_beams", 2), "num_beams does not go with a conversation"),
        (("--engine", "transformers"), "--engine transformers does not go with a conversation"),
        (("--load", "gone.json"), "gone.json cannot be read"),
        (("--load", "x", "--system", "y"), "leave --system out"),
        (("--model_type", "plain"), "give --model_type qwen2p5_instruct"),
    ],
)
def test_flags_that_cannot_be_are_bad_usage(flags: tuple[object, ...], words: str, talk: Talk) -> None:
    run = talk("hi", flags=flags)
    assert words in run.error
    assert run.code == 2
    assert run.out == ""


def test_a_full_context_is_announced_once_and_then_refused(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conversation, "_limit", 210)
    monkeypatch.setattr(PlainReader, "interactive", True)
    run = talk("one", "two", "three", "four", "five", "/undo", "six", flags=("--max_new_tokens", 20))
    told = [line for line in run.err.splitlines() if "positions of the context are left" in line]
    assert len(told) == 2
    assert all("/undo takes turns back" in line for line in told)
    assert any("the model has 210" in error and "/undo" in error for error in errors(run))


def test_a_backslash_goes_on_with_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from vita_demo.console import Console

    monkeypatch.setattr(sys, "stdin", io.StringIO("one\\\ntwo\n\nlast"))
    reader = PlainReader(Console())
    assert [reader.read("› ") for _ in range(4)] == ["one\ntwo", "", "last", None]


# The prompt, and the cursor behind it.
PROMPT = r"›.*\x1b\[\?25h"
# Holds the answer of the question "wait" after its third token until Ctrl-C arrives.
HELD = """
import sys, time
from vita_demo.cli import main
from vita_demo.conversation import Conversation
from vita_demo.errors import InputError
from vita_demo.generation.stopping import StopSignal
from vita_demo.model.decode.decoder import Decoder
state = {"steps": 0, "held": False}
step, ask, request = Decoder.step, Conversation.ask, StopSignal.request
def held_ask(self, asked, *args, **kwargs):
    state.update(steps=0, held=asked.question == "wait\\nfor me")
    return ask(self, asked, *args, **kwargs)
def held_step(self, token_id):
    state["steps"] += 1
    if state["held"] and state["steps"] == 3:
        print("HELD", file=sys.stderr, flush=True)
        while state["held"]:
            time.sleep(0.01)
    return step(self, token_id)
def release(self, *args):
    state["held"] = False
    request(self, *args)
Decoder.step, Conversation.ask, StopSignal.request = held_step, held_ask, release
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_six_turns_at_a_terminal(tmp_path: Path, embedded_pipeline: Pipeline) -> None:
    import pexpect

    file = tmp_path / "chat.json"
    (tmp_path / "second.png").write_bytes(SCENE.read_bytes())
    environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONPATH": str(ROOT)}
    flags = ["chat", "--device", "cpu", "--dtype", "float32", "--max_new_tokens", "8", "--min_new_tokens", "8"]
    chat = pexpect.spawn(
        sys.executable, ["-c", HELD, *flags], env=environment, cwd=tmp_path, encoding="utf-8", dimensions=(50, 200)
    )
    chat.timeout = None

    def enter(entry: str, reply: str) -> None:
        chat.expect(PROMPT)
        chat.send(entry + "\r")
        chat.expect(reply)

    enter(f"/image {SCENE}", "goes with scene.png")
    enter("What is this?", "finished by length")
    # A command that is completed, then a path.
    chat.expect(PROMPT)
    for typed, shown in (
        ("/im", "attach pictures"),
        ("\t sec", "second.png"),
        ("\t", "ond.png"),
        ("\r", "goes with s"),
    ):
        chat.send(typed)
        chat.expect(shown)
    enter("And this?", "finished by length")
    enter("dropped\x03wait\x1b\rfor me", "HELD")
    chat.sendintr()
    chat.expect("finished by cancelled")
    enter(f"/audio {VOICE}", "goes with question.wav")
    enter("", "finished by length")
    enter("two\\\rlines", "finished by length")
    enter("The last?", "finished by length")
    enter(f"/save {file}", "saved 6 turns")
    chat.expect(PROMPT)
    chat.sendeof()
    chat.expect(pexpect.EOF)
    chat.close()
    assert chat.exitstatus == 0

    _, turns = read_chat(file)
    questions = ["What is this?", "And this?", "wait\nfor me", "", "two\nlines", "The last?"]
    assert [turn.request.question for turn in turns] == questions
    assert [len(turn.answer.token_ids) for turn in turns] == [8, 8, 4, 8, 8, 8]
    again = Conversation(embedded_pipeline)
    again.restart(None, turns[:5])
    last = answer_of(again.ask(turns[5].request, GenerationOptions(max_new_tokens=8, min_new_tokens=8)))
    assert last.token_ids == turns[5].answer.token_ids
    history = Path(os.environ["VITA_DEMO_CACHE"]) / "chat_history"
    assert "+The last?" in history.read_text(encoding="utf-8")


def test_the_stages_before_the_first_token_are_named(embedded_pipeline: Pipeline) -> None:
    stages: list[str] = []
    conversation = Conversation(embedded_pipeline)
    question, options = Request(question="What is this?", image_paths=(SCENE,)), GenerationOptions(max_new_tokens=2)
    list(conversation.ask(question, options, on_stage=stages.append))
    assert stages == ["media", "vision", "prefill"]
    list(conversation.regenerate(options, on_stage=stages.append))
    assert stages[3:] == ["prefill"]
