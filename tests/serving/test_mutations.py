"""Bodies that no client sends: mutations, and no answer to them but OpenAI's form with 200 or the client's fault."""

import json
import random
from copy import deepcopy
from typing import Any

import httpx

from tests.serving.running import Running

COUNT = 300
SEEDS: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {
            "model": "vita-tiny",
            "messages": [
                {"role": "system", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": "x"},
                {"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ]},
            ],
            "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 3, "temperature": 1.0,
            "top_p": 0.5, "stop": ["x"], "seed": 1, "logprobs": True, "top_logprobs": 2, "n": 1,
            "fps": 1.5, "max_frames": 2,
        },
        {"messages": [{"role": "user", "content": "hi"}], "tools": [], "response_format": {"type": "text"}},
    ],
    "/v1/responses": [
        {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
            "instructions": "x", "max_output_tokens": 2, "include": ["message.output_text.logprobs"],
            "metadata": {"a": "b"}, "text": {"format": {"type": "text"}}, "stream": True,
        },
        {"input": "hi"},
    ],
    "/generate": [{"prompt": "hi", "image": ["AAAA"], "audio": "AAAA", "max_new_tokens": 2, "stream": False}],
}  # fmt: skip
STRANGE = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, "", " ", "x", "\0",
    "\ud800",     "\r\nx: y", "é" * 1000, "data:image/png;base64,AAAA", "https://[", "file:///etc/passwd",
    [], {}, [[]], [None], {"type": None}, [{}],
    {"": {}}, {"role": "user", "content": "x"}, {"type": "text", "text": {}}, {"type": []}, "assistant", "image_url",
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """All containers in a JSON value, with each of their keys."""
    keys = [*value] if isinstance(value, dict) else [*range(len(value))] if isinstance(value, list) else []
    return [(value, key) for key in keys] + [found for key in keys for found in places(value[key])]


def mutate(content: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A body with one to three things changed, left out, added or doubled."""
    content = json.loads(json.dumps(content))
    for _ in range(chance.randint(1, 3)):
        found = places(content)
        if not found:
            break
        container, key = chance.choice(found)
        how = chance.randrange(4)
        if how == 0:
            del container[key]
        elif how == 1 and isinstance(container, list):
            container.append(deepcopy(container[key]))
        elif how == 2 and isinstance(container, dict):
            container[chance.choice(["x", "", "type", "content", "role", "tools", "url", "é\n"])] = chance.choice(
                STRANGE
            )
        else:
            container[key] = deepcopy(chance.choice(STRANGE))
    return content


def test_mutated_bodies_are_answered_or_refused(answering: Running) -> None:
    chance = random.Random(17)
    with httpx.Client(base_url=answering.url, timeout=60) as client:
        for _ in range(COUNT):
            path = chance.choice([*SEEDS])
            content = json.dumps(mutate(chance.choice(SEEDS[path]), chance))
            if chance.random() < 0.1:
                place = chance.randrange(len(content))
                content = content[:place] + chance.choice('{}[]",:\\\0é') + content[place + chance.randrange(3) :]
            answer = client.post(path, content=content.encode(), headers={"content-type": "application/json"})
            assert answer.status_code in (200, 400, 404), f"{path} {content} {answer.text}"
            if answer.status_code != 200:
                assert [*answer.json()["error"]] == ["message", "type", "param", "code"]
                assert "Traceback" not in answer.text
