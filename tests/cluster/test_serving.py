"""The server on a cluster: who leaves ends the answer, a copy that dies costs nobody who has no text yet."""

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.conftest import ASSETS
from tests.ray_cluster import MARKS, replicas
from tests.serving.running import CHAT, Client, body, chunks_of, data_url, eventually, picture, text_of

pytestmark = MARKS
ENDLESS = {"repetition_penalty": 0.1}
"""Preferring what was said already, an answer goes on until its limit."""


def running(server: Client) -> int:
    (line,) = (line for line in server.get("/metrics").text.splitlines() if line.startswith("vita_demo_running "))
    return int(float(line.split()[1]))


def running_copies() -> int:
    """Answers that the copies themselves make; the two are asked alike often."""
    from ray import serve

    handle = serve.get_deployment_handle("model", "vita-demo")
    return max(handle.running.remote().result() for _ in range(8))


def test_who_leaves_ends_the_answer_on_its_machine(ray_server: Client) -> None:
    host, port = ray_server.url.removeprefix("http://").split(":")
    content = json.dumps(body(stream=True, max_tokens=30_000, **ENDLESS)).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"{head}\r\n\r\n".encode() + content)
        eventually(lambda: running(ray_server) == 1)
        eventually(lambda: running_copies() == 1)
    eventually(lambda: running(ray_server) == 0)
    eventually(lambda: running_copies() == 0)


def test_a_cancelled_answer_ends_with_its_text(ray_server: Client) -> None:
    with ray_server.stream(max_tokens=30_000, stream_options={"include_usage": True}, **ENDLESS) as response:
        lines = (line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {"))
        first = json.loads(next(lines))
        eventually(lambda: json.loads(next(lines))["choices"][0]["delta"].get("content"))
        assert ray_server.post(f"{CHAT}/{first['id']}/cancel", None).json()["cancelled"]
        rest = [*map(json.loads, lines)]
    assert rest[-1]["usage"]["prompt_tokens"] > 0
    assert rest[-1]["vita"]["finish_reason"] == "cancelled"
    eventually(lambda: running_copies() == 0)


def test_a_conversation_comes_back_to_the_copy_that_has_it(ray_server: Client) -> None:
    messages = [{"role": "user", "content": picture(data_url(ASSETS / "scene.png"))}]
    cached = []
    for question in ("Where is the star?", "Is there a circle?", "How many are there?"):
        answer = ray_server.post(CHAT, {"messages": messages, "max_tokens": 8}).json()
        cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
        said = answer["choices"][0]["message"]["content"]
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": question}]
    assert min(cached[1:]) > answer["usage"]["prompt_tokens_details"]["image_tokens"]


def test_what_does_not_fit_is_refused_by_the_copy_and_told_in_openais_form(ray_server: Client) -> None:
    refused = ray_server.chat("long " * 40_000)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_a_copy_that_dies_costs_only_answers_that_have_begun(ray_server: Client) -> None:
    def ask(number: int) -> str:
        content = body(f"hi {number}", stream=True, max_tokens=400, **ENDLESS)
        with httpx.stream("POST", ray_server.url + CHAT, json=content, timeout=120) as response:
            return response.read().decode()

    before = replicas()
    assert len(before) == 2
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(ask, number) for number in range(12)]
        eventually(lambda: running(ray_server) >= 8)
        time.sleep(0.3)
        os.kill(before[0], signal.SIGKILL)
        texts = [chunks_of(answer.result()) for answer in answers]
    errors = [chunks[-1]["error"] for chunks in texts if "error" in chunks[-1]]
    assert 1 <= len(errors) <= 4
    assert {error["code"] for error in errors} == {"generation_failed"}
    for chunks in texts:
        whole = chunks[-1].get("vita", {}).get("finish_reason") == "length"
        assert whole or text_of(chunks[:-1])
