"""An answer's life: who leaves ends it, who cancels ends it, and the server's end ends it in order."""

import json
import socket
import threading
from typing import Any

import httpx
import pytest

from tests.serving.fakes import FakeOwner
from tests.serving.running import CHAT, Running, body, chunks_of, eventually, make, picture, text_of
from vita_demo.serving import answer_response, service


def connect(server: Running, content: dict[str, Any], path: str = CHAT) -> socket.socket:
    """Send a request and return the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    data = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    client = socket.create_connection((host, int(port)))
    client.sendall(f"{head}\r\n\r\n".encode() + data)
    return client


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_ends_the_answer(scripted: Running, stream: bool) -> None:
    client = connect(scripted, body(stream=stream))
    ticket = scripted.owner.ticket()
    ticket.say("Hel", "lo")
    client.close()
    eventually(lambda: ticket.cancelled)
    eventually(lambda: not scripted.server.service.live)


def test_who_leaves_while_waiting_ends_the_wait(scripted: Running) -> None:
    client = connect(scripted, body())
    ticket = scripted.owner.ticket()
    ticket.stage, ticket.place = "queued", 3
    client.close()
    eventually(lambda: ticket.cancelled)


def test_who_leaves_while_media_are_read_is_not_answered(
    scripted: Running, monkeypatch: pytest.MonkeyPatch, scene: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    reader = scripted.server.service.reader
    original = reader._read_one

    def slow(*arguments: Any) -> Any:
        begun.set()
        go_on.wait(30)
        return original(*arguments)

    monkeypatch.setattr(reader, "_read_one", slow)
    client = connect(scripted, body(picture(scene)))
    assert begun.wait(30)
    client.close()
    eventually(lambda: scripted.server.service.reading == 0)
    go_on.set()
    assert not scripted.owner.tickets
    eventually(lambda: not [*reader.folder.iterdir()])


def test_with_the_model_a_leaver_costs_at_most_two_tokens(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from vita_demo.scheduling.owner import Ticket

    made, after = [], []
    cancelled = threading.Event()
    put, cancel = Ticket.put, Ticket.cancel

    def counting_put(ticket: Ticket, event: Any) -> None:
        (after if cancelled.is_set() else made).append(event)
        put(ticket, event)

    def noting_cancel(ticket: Ticket, *reason: Any) -> None:
        cancel(ticket, *reason)
        cancelled.set()

    monkeypatch.setattr(Ticket, "put", counting_put)
    monkeypatch.setattr(Ticket, "cancel", noting_cancel)
    # Preferring what was said already, it goes on until its limit.
    client = connect(server, body(stream=True, repetition_penalty=0.1, max_tokens=4000))
    eventually(lambda: len(made) > 3)
    client.close()
    eventually(lambda: after and after[-1].finish_reason)
    assert sum(event.token_id is not None for event in after) <= 2


def test_a_cancelled_answer_ends_with_its_text(scripted: Running) -> None:
    with scripted.stream() as response:
        ticket = scripted.owner.ticket()
        ticket.say("Hel", "lo")
        answer_id = f"chatcmpl-{response.headers['x-request-id']}"
        assert scripted.post(f"{CHAT}/{answer_id}/cancel", None).json()["cancelled"]
        chunks = chunks_of(response.read().decode())
    assert chunks[0]["id"] == answer_id
    assert text_of(chunks) == "Hello"
    assert chunks[-1]["vita"]["finish_reason"] == "cancelled"
    gone = scripted.post(f"{CHAT}/{answer_id}/cancel", None)
    assert gone.status_code == 404


def test_nobody_cancels_anothers_answer(serve, tmp_path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first-key-of-length\nsecond-key-of-length\n")
    first, second = ({"authorization": f"Bearer {name}-key-of-length"} for name in ("first", "second"))
    with (
        serve(FakeOwner, api_key_file=keys) as server,
        httpx.stream("POST", server.url + CHAT, json=body(stream=True), headers=first) as response,
    ):
        path = f"{CHAT}/chatcmpl-{response.headers['x-request-id']}/cancel"
        assert server.post(path, None, headers=second).status_code == 404
        assert not server.owner.ticket().cancelled
        assert server.post(path, None, headers=first).status_code == 200
        assert server.owner.ticket().cancelled


def test_pings_tell_the_place_and_the_stage(scripted: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_response, "_LOOK_S", 0.05)
    with scripted.stream() as response:
        ticket = scripted.owner.ticket()
        ticket.stage, ticket.place = "queued", 2
        pings = (line for line in response.iter_lines() if line.startswith(":"))
        assert next(pings) == ": ping queue 2"
        ticket.place = 1
        assert next(pings) == ": ping queue 1"
        ticket.stage, ticket.place = "prefill", None
        assert next(pings) == ": ping prefill"
        ticket.end()
        assert not [*pings]


def test_pings_come_again_while_nothing_changes(scripted: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_response, "_LOOK_S", 0.02)
    monkeypatch.setattr(answer_response, "_PING_S", 0.1)
    with scripted.stream() as response:
        pings = (line for line in response.iter_lines() if line.startswith(":"))
        assert [next(pings) for _ in range(3)] == [": ping prefill"] * 3
        scripted.owner.ticket().end()


def test_before_the_weights_are_there_the_server_lives_but_is_not_ready() -> None:
    go_on = threading.Event()

    def load() -> FakeOwner:
        go_on.wait(30)
        return FakeOwner(("x",))

    server = make(load)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: httpx.get(f"{server.address}/health").status_code == 200)
        for answer in (httpx.get(f"{server.address}/ready"), httpx.post(server.address + CHAT, json=body())):
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "loading"
            assert answer.headers["retry-after"]
        go_on.set()
        eventually(lambda: httpx.get(f"{server.address}/ready").status_code == 200)
        assert httpx.post(server.address + CHAT, json=body()).status_code == 200
    finally:
        go_on.set()
        server.stop()
        thread.join(30)


def test_while_the_server_ends_answers_go_on_and_none_begins(scripted: Running) -> None:
    with scripted.stream() as response:
        ticket = scripted.owner.ticket()
        ticket.say("Hel")
        scripted.server.stop()
        eventually(lambda: scripted.get("/ready").status_code == 503)
        assert scripted.get("/health").status_code == 200
        refused = scripted.chat()
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "shutting_down"
        ticket.say("lo")
        ticket.end()
        chunks = chunks_of(response.read().decode())
    assert text_of(chunks) == "Hello"
    scripted.thread.join(30)
    assert not scripted.thread.is_alive()
    assert scripted.owner.closed


def test_an_answer_that_takes_too_long_ends_with_an_error(scripted: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "DRAIN_S", 0.2)
    with scripted.stream() as response:
        ticket = scripted.owner.ticket()
        ticket.say("Hel")
        scripted.server.stop()
        chunks = chunks_of(response.read().decode())
    assert chunks[-1]["error"]["code"] == "shutting_down"
    assert ticket.cancelled
    scripted.thread.join(30)
    assert not scripted.thread.is_alive()
