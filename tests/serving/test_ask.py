"""``vita-demo --server``: a question to a model that is loaded elsewhere gives what a run here gives."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ASSETS, ROOT, Run
from tests.serving.fakes import FakeOwner
from tests.serving.running import Running, eventually
from vita_demo.errors import GenerationError
from vita_demo.generation.callbacks import GenerationCallback, GenerationControl
from vita_demo.generation.events import answer_of
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request
from vita_demo.serving.client import KEY_VARIABLE, RemoteModel

Vita = Callable[..., Run]
SCENE, CLIP, VOICE = ASSETS / "scene.png", ASSETS / "moving.mp4", ASSETS / "question.wav"
HERE = ("--dtype", "float32", "--quiet")
QUESTIONS = {
    "text": ("--question", "hi"),
    "picture": ("--image_path", SCENE, "--question", "Describe this image."),
    "two pictures": ("--image_path", SCENE, "--image_path", SCENE, "--question", "How many shapes?"),
    "part of a video": ("--video_path", CLIP, "--question", "What happens?", "--end", "2", "--fps", "2"),
    "voice": ("--audio_path", VOICE),
    "drawn": ("--question", "hi", "--temperature", "2", "--seed", "5", "--max_new_tokens", "9"),
    "stopped": ("--image_path", SCENE, "--question", "Describe this image.", "--stop_string", "blue"),
    "state": ("--question", "hi", "--show_state"),
}


def run_here(vita: Vita, *arguments: object) -> Run:
    return vita(*arguments, *HERE)


def run_there(vita: Vita, server: Running, *arguments: object) -> Run:
    return vita("--server", server.url, "--quiet", *arguments)


@pytest.mark.parametrize("form", [(), ("--streaming",)], ids=["text", "streaming"])
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_stdout_is_that_of_a_run_here(vita: Vita, server: Running, question: tuple, form: tuple) -> None:
    here, there = run_here(vita, *question, *form), run_there(vita, server, *question, *form)
    assert there == here
    assert there.code == 0
    assert there.out.strip()


def test_json_has_the_same_keys_and_what_the_model_said(vita: Vita, server: Running) -> None:
    flags = (*QUESTIONS["picture"], "--json", "--top_logprobs", "2")
    here, there = (json.loads(run(vita, *flags).out) for run in (run_here, lambda v, *f: run_there(v, server, *f)))
    for content in (here, there):
        content["keys"] = {name: sorted(content[name]) for name in ("metrics", "model", "host")}
        metrics = content.pop("metrics")
        assert 0 < metrics["ttft_model_s"] <= metrics["ttft_s"] <= metrics["total_s"]
        assert len(content["logprobs"]) == len(content["token_ids"])
        for token in content.pop("logprobs"):
            assert token["logprob"] == pytest.approx(token["alternatives"][0]["logprob"], abs=1e-3)
        del content["host"], content["model"]["dtype"]
    assert there == here


def test_jsonl_has_the_same_tokens(vita: Vita, server: Running) -> None:
    def tokens(run: Run) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in run.out.splitlines()]
        assert [event["event"] for event in events[-2:]] == ["end", "answer"]
        clocks = [event["clock_s"] for event in events[:-1]]
        assert clocks == sorted(clocks)
        return [{**event, "clock_s": 0} for event in events[:-1]]

    flags = (*QUESTIONS["picture"], "--jsonl")
    assert tokens(run_there(vita, server, *flags)) == tokens(run_here(vita, *flags))


def test_the_panel_and_the_notes_are_there(vita: Vita, server: Running) -> None:
    run = vita("--server", server.url, *QUESTIONS["picture"], "--enable_callbacks")
    assert "image scene.png: 640 × 480 pixels" in run.err
    assert "text + 208 image → " in run.err


class Watcher(GenerationCallback):
    """Keeps what it is told, and ends the answer after some tokens."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.stop_after, self.calls, self.text = stop_after, [], ""

    def on_generation_start(self, input_ids, **kwargs):
        self.calls.append(("start", type(input_ids), input_ids.shape[0], kwargs["prompt_positions"]))
        self.length = input_ids.shape[1]

    def on_token_generated(self, token_id, token_text, step, **kwargs):
        self.calls.append((step, token_id))
        self.text += token_text
        return GenerationControl.STOP if step + 1 == self.stop_after else None

    def on_generation_end(self, output_ids, **kwargs):
        self.text += kwargs["rest"]
        self.calls.append(("end", output_ids.tolist(), kwargs["finish_reason"]))


@pytest.mark.parametrize("stop_after", [1, 4, 1000])
def test_callbacks_see_what_they_see_here(server: Running, embedded_pipeline, stop_after: int) -> None:
    request = Request("Describe this image.", (SCENE,))
    here, there = Watcher(stop_after), Watcher(stop_after)
    expected = embedded_pipeline.generate(request, callbacks=[here])
    answer = answer_of(RemoteModel(server.url).stream(request, {}, callbacks=[there]))
    assert there.calls == here.calls
    assert there.calls[0][1] is torch.Tensor
    assert (answer.text, answer.token_ids, answer.state) == (expected.text, expected.token_ids, expected.state)
    assert answer.finish_reason == ("stop" if stop_after < 1000 else expected.finish_reason)
    assert there.text == answer.text
    assert answer.stats.tokens == len(answer.token_ids)
    assert len(answer.stats.token_gaps_s) == len(answer.token_ids) - 1
    eventually(lambda: not server.owner.running)


def test_the_signal_ends_the_answer_here_and_there(scripted: Running) -> None:
    signal = StopSignal()
    events = RemoteModel(scripted.url).stream(Request("hi"), {}, signal=signal)
    first = []

    def begin() -> None:
        scripted.owner.ticket().say("Hello")

    threading.Thread(target=begin).start()
    first.append(next(events))
    signal.request("cancelled")
    answer = answer_of(events)
    assert (answer.text, answer.finish_reason) == ("Hello", "cancelled")
    eventually(lambda: scripted.owner.ticket().cancelled)


def test_the_signal_ends_an_answer_that_has_not_begun(scripted: Running) -> None:
    signal, stages = StopSignal(), []

    def heard(stage: str) -> None:
        stages.append(stage)
        signal.request("cancelled")

    answer = answer_of(RemoteModel(scripted.url).stream(Request("hi"), {}, signal=signal, on_stage=heard))
    assert (answer.text, answer.token_ids, answer.finish_reason) == ("", (), "cancelled")
    assert stages == ["prefill"]
    eventually(lambda: scripted.owner.ticket().cancelled)


def test_leaving_the_iterator_ends_the_answer_there(scripted: Running) -> None:
    events = RemoteModel(scripted.url).stream(Request("hi"), {})
    threading.Thread(target=lambda: scripted.owner.ticket().say("Hello")).start()
    next(events)
    events.close()
    eventually(lambda: scripted.owner.ticket().cancelled)


def test_a_failure_there_is_an_error_here_and_told_to_callbacks(scripted: Running) -> None:
    errors, ends = [], []

    class Told(GenerationCallback):
        def on_generation_error(self, error, **kwargs):
            errors.append(str(error))

        def on_generation_end(self, output_ids, **kwargs):
            ends.append(kwargs["finish_reason"])

    events = RemoteModel(scripted.url).stream(Request("hi"), {}, callbacks=[Told()])
    threading.Thread(target=lambda: scripted.owner.ticket().say("Hello")).start()
    next(events)
    scripted.owner.ticket().fail(GenerationError("memory ran out"))
    with pytest.raises(GenerationError, match="memory ran out"):
        answer_of(events)
    assert errors == ["memory ran out"]
    assert ends == ["error"]


def test_fields_that_the_server_refuses_are_named_by_their_flags(vita: Vita, server: Running, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(SCENE.read_bytes()[:500])
    run = run_there(vita, server, "--image_path", SCENE, "--image_path", broken, "--question", "hi")
    assert run.code == 1
    assert run.err.startswith(f"error: image {broken} is damaged")
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--device", "cpu"), "--device does not go with --server"),
        (("--num_beams", "2"), "--num_beams does not go with --server"),
        (("--save_run", "run"), "--save_run does not go with --server"),
        (("--config", "pipeline"), "--dtype does not go with --server"),
        (("--temperature", "-1"), "--temperature -1"),
    ],
)
def test_what_a_server_cannot_be_asked_for_is_refused(vita: Vita, flags: tuple, words: str) -> None:
    run = vita("--server", "127.0.0.1:1", "--question", "hi", *flags)
    assert run.code == 2
    assert words in run.err
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("ftp://here", 2, "is no address"),
        ("http://here:port", 2, "is no address"),
        ("http://127.0.0.1:1", 1, "cannot be reached"),
    ],
)
def test_addresses_where_nobody_answers(vita: Vita, url: str, code: int, words: str) -> None:
    run = vita("--server", url, "--question", "hi")
    assert run.code == code
    assert words in run.err
    assert run.err.count("\n") == 1


def test_a_key_is_sent_where_one_is_wanted(vita: Vita, serve: Any, tmp_path: Path, monkeypatch: Any) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\n")
    with serve(lambda: FakeOwner(("Hello",)), api_key_file=keys) as server:
        refused = run_there(vita, server, "--question", "hi")
        assert refused.code == 2
        assert KEY_VARIABLE in refused.err
        monkeypatch.setenv(KEY_VARIABLE, "a-key-of-some-length")
        assert run_there(vita, server, "--question", "hi").out == "Hello\n"


def test_asking_imports_neither_torch_nor_numpy(answering: Running) -> None:
    program = (
        "import sys\nfrom vita_demo.cli import main\ntry:\n    main()\nfinally:\n"
        "    print([name for name in ('torch', 'numpy', 'transformers') if name in sys.modules])\n"
    )
    flags = ("--server", answering.url, "--question", "hi", "--enable_callbacks", "--streaming", "--quiet")
    run = subprocess.run(
        [sys.executable, "-c", program, *flags], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert run.stdout == "Hello there.\n[]\n"
