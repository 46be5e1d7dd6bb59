"""The other endpoints: responses, the guide's, models, state and figures."""

import json
import re
from typing import Any

import pytest
from openai.types.model import Model
from openai.types.responses import Response, ResponseStreamEvent
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter

from tests.serving.fakes import FakeOwner
from tests.serving.running import Running, check, picture
from vita_demo.errors import GenerationError

RESPONSES = "/v1/responses"
EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def events_of(text: str) -> list[dict[str, Any]]:
    """The typed events of a stream, each in OpenAI's form."""
    events = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        TypeAdapter(ResponseStreamEvent).validate_python(event)
        events.append(event)
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    return events


def test_a_response_is_the_same_answer(server: Running, scene: str) -> None:
    chat = server.chat(picture(scene)).json()
    parts = [{"type": "input_image", "image_url": scene}, {"type": "input_text", "text": "Describe this image."}]
    content = server.post(RESPONSES, {"input": [{"role": "user", "content": parts}]}).json()
    response = Response.model_validate(content)
    assert response.output_text == chat["choices"][0]["message"]["content"]
    assert response.status == "completed"
    assert response.usage.total_tokens == chat["usage"]["total_tokens"]
    assert content["usage"]["input_tokens_details"]["image_tokens"] > 0
    assert content["vita"]["state"] == "text"
    assert set(response.model_extra or {}) <= {"timings", "vita"}


def test_a_streamed_response_has_its_events_in_order(server: Running) -> None:
    whole = server.post(RESPONSES, {"input": "hi"}).json()
    events = events_of(server.post(RESPONSES, {"input": "hi", "stream": True}).text)
    kinds = [event["type"] for event in events]
    assert [*dict.fromkeys(kinds)] == EVENTS
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert text == whole["output"][0]["content"][0]["text"]
    done = {event["type"]: event for event in events}
    assert done["response.output_text.done"]["text"] == text
    last = done["response.completed"]["response"]
    assert last["output"][0]["content"][0]["text"] == text
    assert last["usage"] is not None
    assert {each["item_id"] for each in events if "item_id" in each} == {last["output"][0]["id"]}


def test_a_response_that_reaches_its_limit_is_incomplete(server: Running) -> None:
    events = events_of(server.post(RESPONSES, {"input": "hi", "stream": True, "max_output_tokens": 2}).text)
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert server.post(RESPONSES, {"input": "hi", "max_output_tokens": 2}).json()["status"] == "incomplete"


def test_a_response_that_fails_says_so(scripted: Running) -> None:
    with scripted.stream(RESPONSES, messages=None, input="hi") as response:
        scripted.owner.ticket().fail(GenerationError("no memory"))
        last = events_of(response.read().decode())[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "no memory"}


def test_logprobs_of_a_response(server: Running) -> None:
    content = {"input": "hi", "include": ["message.output_text.logprobs"], "top_logprobs": 1}
    part = Response.model_validate(server.post(RESPONSES, content).json()).output[0].content[0]
    assert "".join(token.token for token in part.logprobs) == part.text
    events = events_of(server.post(RESPONSES, {**content, "stream": True}).text)
    streamed = [token["token"] for event in events if "delta" in event for token in event["logprobs"]]
    assert streamed == [token.token for token in part.logprobs]


def test_a_response_continues_what_was_said(answering: Running) -> None:
    items = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "One"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "Two.", "annotations": []}]},
        {"role": "user", "content": "Three?"},
    ]  # fmt: skip
    answer = answering.post(RESPONSES, {"input": items, "instructions": "Be brief.", "store": True})
    assert answer.status_code == 200
    dialogue = answering.owner.ticket().dialogue
    assert dialogue.system == "Be brief.\nBe kind."
    assert [(each.question, each.answer) for each in dialogue.exchanges] == [("One", "Two."), ("Three?", None)]
    assert answer.headers["x-ignored-fields"] == "store, input[2].content[0].annotations"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"text": {"format": {"type": "json_schema"}}}, "text"),
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call_output"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": 5}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_a_response_cannot_do_is_named(answering: Running, fields: dict[str, Any], param: str) -> None:
    answer = answering.post(RESPONSES, {"input": "hi", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_the_guides_door_streams_tokens(server: Running, scene: str) -> None:
    expected = server.chat(picture(scene)).json()["choices"][0]["message"]["content"]
    answer = server.post("/generate", {"prompt": "Describe this image.", "image": scene})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, last, done = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    tokens = [json.loads(event.removeprefix("data: ")) for event in events]
    assert all([*token] == ["token"] for token in tokens)
    assert "".join(token["token"] for token in tokens) == expected
    assert json.loads(last.removeprefix("data: "))["finish_reason"] == "stop"
    assert done == "data: [DONE]"
    whole = server.post("/generate", {"question": "Describe this image.", "image": [scene], "stream": False})
    assert whole.json()["text"] == expected


def test_models_are_listed_with_what_they_take(answering: Running) -> None:
    content = answering.get("/v1/models").json()
    assert content["object"] == "list"
    (model,) = content["data"]
    Model.model_validate(model)
    assert model["id"] == "vita-tiny"
    assert model["max_model_len"] > 0
    assert model["architecture"]["input_modalities"] == ["text", "image", "video", "audio"]
    assert answering.get("/v1/models/vita-tiny").json() == model
    assert answering.get("/v1/models/owner/other").status_code == 404


def test_the_figures_count_what_was_done(serve) -> None:
    with serve(lambda: FakeOwner(("Hello", "."))) as server:
        server.chat()
        server.chat(stream=True)
        server.chat(temperature="x")
        server.get("/strange")
        answer = server.get("/metrics")
        names = re.findall(r"^# TYPE (\w+)", answer.text, re.MULTILINE)
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert all(name.startswith(("vita_demo_", "process_", "python_")) for name in names)

    def value(name: str, **labels: str) -> float:
        family = families[name.removesuffix("_total").removesuffix("_count")]
        return sum(s.value for s in family.samples if s.name == name and s.labels.items() >= labels.items())

    endpoint = "/v1/chat/completions"
    assert value("vita_demo_requests_total", endpoint=endpoint, status="200") == 2
    assert value("vita_demo_requests_total", endpoint=endpoint, status="400") == 1
    assert value("vita_demo_requests_total", endpoint="other", status="404") == 1
    assert value("vita_demo_generated_tokens_total") == 4
    assert value("vita_demo_prompt_tokens_total", kind="image") == 6
    assert value("vita_demo_cached_tokens_total") == 4
    assert value("vita_demo_answers_total", reason="stop") == 2
    assert value("vita_demo_time_to_first_token_seconds_count") == 2
    assert value("vita_demo_inter_token_seconds_count") == 4
    assert value("vita_demo_running") == 2
    assert value("vita_demo_waiting") == 0
    check(Model, {"id": "x", "created": 1, "object": "model", "owned_by": "x"})
