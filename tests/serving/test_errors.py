"""What is wrong with a request is said in one line, in OpenAI's form, and nothing is skipped in silence."""

import base64
import json
import tempfile
from typing import Any

import pytest

from tests.serving.fakes import FakeOwner
from tests.serving.running import CHAT, Running, body, chunks_of
from vita_demo.errors import GenerationError, InputError

USER = {"role": "user", "content": "hi"}


def error_of(answer: Any, status: int = 400) -> dict[str, Any]:
    """The error of an answer, in the one form that all have."""
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert [*content] == ["error"]
    assert [*content["error"]] == ["message", "type", "param", "code"]
    assert "\n" not in content["error"]["message"]
    assert "Traceback" not in answer.text
    return content["error"]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"temperature": "hot"}, "temperature", "temperature 'hot': input should be a valid number"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": True}, "max_tokens", "valid integer"),
        ({"n": 2}, "n", "less than or equal to 1"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "less than or equal to 20"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs: true"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "up to 4"),
        ({"stop": ""}, "stop", "none of them empty"),
        ({"stop": [1]}, "stop[0]", "valid string"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream: true"),
        ({"fps": 0}, None, None),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "hi"}, "messages", "valid list"),
        ({"messages": [1]}, "messages[0]", "give an object"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "roles are"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "a text or a list of parts"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0]", "asks nothing"),
        ({"messages": [USER, {"role": "assistant", "content": "x"}]}, "messages", "end with the question"),
        ({"messages": [{"role": "assistant", "content": "x"}, USER]}, "messages[0]", "follows no user's"),
        ({"messages": [USER, {"role": "system", "content": "x"}]}, "messages[1]", "put it first"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "half a character"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "required"),
    ],
)
def test_a_wrong_field_is_named(answering: Running, fields: dict[str, Any], param: str | None, says: str) -> None:
    answer = answering.post_raw(CHAT, json.dumps({"messages": [USER], **fields}))
    if says is None:
        assert answer.status_code == 200
        return
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"type": "input_file", "input_file": {}}, "type 'input_file', which is not supported; parts are text"),
        ({"type": 5}, "type 5"),
        ("text", "type None"),
        ({"type": "image_url"}, "give an object"),
        ({"type": "image_url", "image_url": {"url": ""}}, "give a data URL"),
        ({"type": "image_url", "image_url": {"url": "x", "detail": "huge"}}, "detail 'huge'"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, "give data:TYPE;base64,CONTENT"),
        ({"type": "image_url", "image_url": {"url": "../../etc/passwd"}}, "is not base64"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "only https"),
        ({"type": "image_url", "image_url": {"url": "http://example.org/x.png"}}, "only https"),
        ({"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}, "--allow_media_domain example.org"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "0 bytes"),
        ({"type": "image_url", "image_url": {"url": base64.b64encode(b"no picture").decode()}}, "image 1 is not in a"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "audio 1 cannot be decoded"),
        ({"type": "video_url", "video_url": {"url": "AAAA"}}, "video 1 cannot be decoded"),
        ({"type": "video_url", "video_url": {"url": "AAAA", "fps": 0}}, "fps 0 must be above 0"),
        ({"type": "video_url", "video_url": {"url": "AAAA", "max_frames": 65}}, "max_frames 65 is over 64"),
        ({"type": "video_url", "video_url": {"url": "AAAA", "start": 2, "end": 1}}, "end 1 must come after start 2"),
    ],
)
def test_a_part_that_cannot_be_read_is_named(answering: Running, part: Any, says: str) -> None:
    error = error_of(answering.chat([{"type": "text", "text": "hi"}, part]))
    assert says in error["message"]
    assert error["param"].startswith("messages[0].content[1]")
    assert tempfile.gettempdir() not in error["message"]
    assert "vita-demo-" not in error["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("tool_choice", "auto"),
        ("response_format", {"type": "json_object"}),
        ("presence_penalty", 0.5),
        ("frequency_penalty", False),
        ("logit_bias", {"5": 1}),
        ("modalities", ["text", "audio"]),
        ("functions", [{}]),
    ],
)
def test_what_would_change_the_answer_is_refused(answering: Running, name: str, value: Any) -> None:
    error = error_of(answering.chat(**{name: value}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", []),
        ("tools", None),
        ("tool_choice", "none"),
        ("response_format", {"type": "text"}),
        ("presence_penalty", 0),
        ("frequency_penalty", 0.0),
        ("logit_bias", {}),
        ("modalities", ["text"]),
    ],
)
def test_what_asks_for_nothing_is_taken(answering: Running, name: str, value: Any) -> None:
    answer = answering.chat(**{name: value})
    assert answer.status_code == 200
    assert "x-ignored-fields" not in answer.headers


def test_more_than_one_question_takes_is_refused(answering: Running) -> None:
    sounds = 2 * [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]
    assert "has 2 sounds; a question takes one" in error_of(answering.chat(sounds))["message"]
    pictures = [{"type": "text", "text": "x"}] + 17 * [{"type": "image_url", "image_url": "AAAA"}]
    assert "more than 16 pictures" in error_of(answering.chat(pictures))["message"]


def test_another_model_is_not_found(answering: Running) -> None:
    error = error_of(answering.chat(model="gpt-5"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "vita-tiny" in error["message"]
    assert answering.chat(model="vita-tiny").status_code == 200


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "NaN", '{"messages": NaN}', "[" * 100_000, "1" * 5000])
def test_a_body_that_is_no_object_is_refused(answering: Running, content: str) -> None:
    error_of(answering.post_raw(CHAT, content))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_of_another_type_is_refused(answering: Running, kind: str) -> None:
    answer = answering.post_raw(CHAT, json.dumps(body()), kind)
    assert "application/json" in error_of(answer, 415)["message"]


def test_a_door_that_is_not_there(answering: Running) -> None:
    error_of(answering.get("/v1/embeddings"), 404)
    answer = answering.get(CHAT)
    error_of(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_a_full_queue_says_when_to_try_again(serve) -> None:
    with serve(lambda: FakeOwner(limit=0)) as server:
        answer = server.chat()
        assert error_of(answer, 503)["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) > 0
    with serve(lambda: FakeOwner(("x",)), queue=2) as server:
        server.owner.waiting = 2
        assert error_of(server.chat(), 503)["code"] == "queue_full"
        assert not server.owner.tickets


def test_an_error_after_the_begin_comes_in_the_stream(scripted: Running) -> None:
    with scripted.stream() as response:
        ticket = scripted.owner.ticket()
        ticket.say("Hel")
        ticket.fail(GenerationError("memory ran out; lower --max_frames"))
        chunks = chunks_of(response.read().decode())
    error = chunks[-1]["error"]
    assert error["message"] == "memory ran out; lower max_frames"
    assert error["type"] == "server_error"


@pytest.mark.parametrize(
    ("raised", "status"), [(InputError("the prompt is too long"), 400), (GenerationError("no memory"), 500)]
)
def test_an_error_of_a_plain_answer_is_its_status(scripted: Running, raised: Exception, status: int) -> None:
    import threading

    def fail() -> None:
        scripted.owner.ticket().fail(raised)

    thread = threading.Thread(target=fail)
    thread.start()
    answer = scripted.chat()
    thread.join()
    assert error_of(answer, status)["message"] == str(raised)
    assert (answer.headers.get("x-should-retry") == "false") == (status == 500)


def test_a_defect_is_said_without_its_cause(serve, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeOwner):
        def submit(self, *_: Any, **__: Any) -> Any:
            raise KeyError("a secret question")

    with serve(Broken) as server:
        answer = server.chat("a secret question")
    error = error_of(answer, 500)
    assert error["code"] == "internal_error"
    assert answer.headers["x-should-retry"] == "false"
    assert "secret" not in answer.text
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any(message.startswith("KeyError at ") for message in messages)
    assert not any("secret" in message for message in messages)


@pytest.mark.parametrize(
    ("content", "says"), [(None, "null"), (5, "a number"), (True, "a boolean"), ({"a": 1}, "an object")]
)
def test_kinds_of_json_have_the_names_of_json(answering: Running, content: Any, says: str) -> None:
    answer = answering.post("/v1/chat/completions", {"messages": [{"role": "user", "content": content}]})
    assert f"is {says}; give a text or a list of parts" in error_of(answer)["message"]
