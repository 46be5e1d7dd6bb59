"""``POST /v1/chat/completions``: the same answers as the command line's, in OpenAI's form."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from PIL import Image

from tests.conftest import ASSETS
from tests.serving.fakes import FakeOwner
from tests.serving.running import CHAT, Running, check, chunks_of, data_url, picture, text_of
from vita_demo import Request


def test_an_answer_in_one_piece_is_the_command_lines(server: Running, embedded_pipeline, scene: str) -> None:
    answer = server.chat(picture(scene))
    content = answer.json()
    check(ChatCompletion, content)
    request = Request(question="Describe this image.", image_paths=(ASSETS / "scene.png",))
    expected = embedded_pipeline.generate(request)
    (choice,) = content["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected.text, "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert content["id"] == f"chatcmpl-{answer.headers['x-request-id']}"
    usage = content["usage"]
    assert usage["prompt_tokens"] == expected.prompt.tokens
    assert usage["completion_tokens"] == len(expected.token_ids)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    details = usage["prompt_tokens_details"]
    assert details["image_tokens"] == expected.prompt.image_tokens > 0
    assert details["text_tokens"] == expected.prompt.text_tokens
    assert details["audio_tokens"] == 0
    assert content["vita"]["state"] == "text"
    assert content["vita"]["finish_reason"] == "stop"
    assert content["vita"]["notes"][0].startswith("image 1: ")
    timings = content["timings"]
    assert [*timings["stages"]] == ["queued", "media", "vision", "audio", "prefill", "decode"]
    assert timings["stages"]["media"] > 0
    assert timings["total_s"] >= timings["ttft_s"] > timings["stages"]["media"]


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_has_the_same_text_and_counts_only_if_asked(server: Running, scene: str, asked: bool) -> None:
    whole = server.chat(picture(scene)).json()
    extra = {"stream_options": {"include_usage": True}} if asked else {}
    response = server.chat(picture(scene), stream=True, **extra)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    chunks = chunks_of(response.text)
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    last = chunks[-1]
    assert (last["choices"] == []) == asked
    assert last["vita"]["state"] == "text"
    assert last["timings"]["decode_tps"] > 0
    if asked:
        counts = ("prompt_tokens", "completion_tokens", "total_tokens")
        assert [last["usage"][name] for name in counts] == [whole["usage"][name] for name in counts]
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
    else:
        assert not any("usage" in chunk for chunk in chunks)


def test_a_second_turn_computes_only_what_is_new(server: Running, scene: str) -> None:
    first = {"role": "user", "content": picture(scene)}
    answer = server.post(CHAT, {"messages": [first]}).json()
    said = {"role": "assistant", "content": answer["choices"][0]["message"]["content"]}
    follow_up = {"role": "user", "content": "How many shapes are there?"}
    usage = server.post(CHAT, {"messages": [first, said, follow_up]}).json()["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert answer["usage"]["total_tokens"] - 2 <= cached < usage["prompt_tokens"]


def test_a_voice_asks_and_the_state_says_so(server: Running, embedded_pipeline) -> None:
    sound = data_url(ASSETS / "question.wav").partition(",")[2]
    content = server.chat([{"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}]).json()
    expected = embedded_pipeline.generate(Request(audio_path=ASSETS / "question.wav"))
    assert content["choices"][0]["message"]["content"] == expected.text
    assert content["vita"]["state"] == expected.state
    assert content["usage"]["prompt_tokens_details"]["audio_tokens"] == expected.prompt.audio_tokens > 0


@pytest.mark.parametrize("part", ["video_url", "input_video"])
def test_a_video_is_sampled_as_asked(server: Running, embedded_pipeline, part: str) -> None:
    clip = ASSETS / "moving.mp4"
    inner = {"url" if part == "video_url" else "data": data_url(clip, "video/mp4"), "fps": 2, "max_frames": 3}
    content = server.chat([{"type": part, part: inner}, {"type": "text", "text": "What happens?"}]).json()
    expected = embedded_pipeline.generate(Request(question="What happens?", video_path=clip, fps=2, max_frames=3))
    assert content["choices"][0]["message"]["content"] == expected.text
    assert content["usage"]["prompt_tokens"] == expected.prompt.tokens


def test_logprobs_tell_the_tokens_of_the_text(server: Running) -> None:
    plain = server.chat("hi", logprobs=True, top_logprobs=2).json()
    check(ChatCompletion, plain)
    tokens = plain["choices"][0]["logprobs"]["content"]
    text = plain["choices"][0]["message"]["content"]
    assert bytes(byte for token in tokens for byte in token["bytes"]).decode() == text
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)
    assert all(token["top_logprobs"][0]["token"] == token["token"] for token in tokens)
    chunks = chunks_of(server.chat("hi", logprobs=True, top_logprobs=2, stream=True).text)
    choices = [choice for chunk in chunks for choice in chunk["choices"] if "logprobs" in choice]
    streamed = [token["token"] for choice in choices for token in choice["logprobs"]["content"]]
    assert streamed == [token["token"] for token in tokens]


@pytest.mark.parametrize(
    ("reason", "shown"), [("stop", "stop"), ("length", "length"), ("timeout", "length"), ("cancelled", "stop")]
)
def test_clients_get_one_of_two_reasons_and_the_true_one(scripted: Running, reason: str, shown: str) -> None:
    with scripted.stream() as response:
        scripted.owner.ticket().end(reason)
        last = chunks_of(response.read().decode())[-1]
    assert last["choices"][0]["finish_reason"] == shown
    assert last["vita"]["finish_reason"] == reason


def test_all_text_since_the_last_look_is_one_chunk(serve) -> None:
    words = tuple(f" w{number}" for number in range(1000))
    with serve(lambda: FakeOwner(words)) as server:
        chunks = chunks_of(server.chat(stream=True).text)
    assert text_of(chunks) == "".join(words)
    assert len(chunks) == 3


def test_options_reach_the_generation(answering: Running) -> None:
    answer = answering.chat(
        max_tokens=5, max_completion_tokens=9, temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, seed=-1,
        repetition_penalty=1.1, stop=["END", "x"],
    )  # fmt: skip
    assert answer.status_code == 200
    options = answering.owner.ticket().options
    assert options.max_new_tokens == 9
    assert options.do_sample
    assert (options.temperature, options.top_p, options.top_k, options.min_p) == (0.5, 0.9, 3, 0.1)
    assert options.seed == 2**63 - 1
    assert options.repetition_penalty == 1.1
    assert options.stop_strings[-2:] == ("END", "x")
    assert options.time_limit_s == 300


@pytest.mark.parametrize("fields", [{}, {"temperature": 0}, {"temperature": 0, "top_p": 1}, {"top_p": 1}])
def test_without_a_temperature_the_likeliest_token_is_taken(answering: Running, fields: dict[str, Any]) -> None:
    answering.chat(**fields)
    assert not answering.owner.ticket().options.do_sample


def test_messages_become_one_dialogue(answering: Running) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "One"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": "Four?"},
    ]
    assert answering.post(CHAT, {"messages": messages}).status_code == 200
    dialogue = answering.owner.ticket().dialogue
    assert dialogue.system == "Be brief.\nBe kind."
    assert [(each.question, each.answer) for each in dialogue.exchanges] == [("One\ntwo", "Three."), ("Four?", None)]


def test_fields_without_effect_are_named(answering: Running) -> None:
    answer = answering.chat(
        [{"type": "text", "text": "hi", "cache_control": {}}],
        user="me", metadata={}, store=True, **{"strange,\nname": 1, "": 1, " ": 1, "n": 1, "service_tier": None},
    )  # fmt: skip
    assert answer.status_code == 200
    ignored = "user, metadata, store, strange??name, ?, ?, messages[0].content[0].cache_control"
    assert answer.headers["x-ignored-fields"] == ignored
    assert "x-ignored-fields" not in answering.chat().headers


def test_low_detail_is_one_tile(server: Running, tmp_path) -> None:
    path = tmp_path / "wide.png"
    Image.new("RGB", (1344, 448), "red").save(path)
    high, low = (server.chat(picture(data_url(path), detail=each), max_tokens=1).json() for each in ("high", "low"))
    images = [answer["usage"]["prompt_tokens_details"]["image_tokens"] for answer in (high, low)]
    assert images[0] == 13 * images[1]
    assert low["vita"]["notes"] == ["image 1: 1344 × 448 pixels in 6 × 2 tiles; seen as one, at low detail"]
