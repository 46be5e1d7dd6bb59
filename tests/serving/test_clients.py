"""The clients that people have, against a server that runs: openai-python, llm and curl."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from tests.conftest import ASSETS
from tests.ray_cluster import MARKS
from tests.serving.fakes import FakeOwner
from tests.serving.running import CHAT, Client, Running, eventually, picture

MODEL = "vita-tiny"


ON_RAY = pytest.param("ray_server", marks=MARKS)


@pytest.fixture(params=["server", ON_RAY])
def anywhere(request: pytest.FixtureRequest) -> Client:
    """A server with the embedded model: in this process, and on a Ray cluster."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(anywhere: Client):
    with openai.OpenAI(base_url=f"{anywhere.url}/v1", api_key="none") as client:
        yield client


def asked(scene: str) -> list[dict]:
    return [{"role": "user", "content": picture(scene)}]


def test_openai_asks_about_a_picture_in_all_its_ways(client: openai.OpenAI, scene: str) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=asked(scene))
    text = whole.choices[0].message.content
    assert text.startswith("There ")
    stream = client.chat.completions.create(
        model=MODEL, messages=asked(scene), stream=True, stream_options={"include_usage": True}
    )
    chunks = [*stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0
    with client.chat.completions.stream(model=MODEL, messages=asked(scene)) as events:
        assert events.get_final_completion().choices[0].message.content == text
    parts = [{"type": "input_image", "image_url": scene, "detail": "auto"},
             {"type": "input_text", "text": "Describe this image."}]  # fmt: skip
    items = [{"role": "user", "content": parts}]
    assert client.responses.create(model=MODEL, input=items).output_text == text
    with client.responses.stream(model=MODEL, input=items) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert events.get_final_response().output_text == "".join(deltas) == text


def test_openai_asks_by_voice_and_goes_on(client: openai.OpenAI) -> None:
    data = base64.b64encode((ASSETS / "question.wav").read_bytes()).decode()
    voice = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]}]
    first = client.chat.completions.create(model=MODEL, messages=voice)
    said = {"role": "assistant", "content": first.choices[0].message.content}
    messages = [*voice, said, {"role": "user", "content": "hi"}]
    second = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=5)
    assert second.usage.prompt_tokens_details.audio_tokens == first.usage.prompt_tokens_details.audio_tokens > 0
    assert second.choices[0].finish_reason in ("stop", "length")


def test_openai_lists_the_model_and_raises_its_errors(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match="ask for vita-tiny") as caught:
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="tools is not supported") as refused:
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "hi"}],
            tools=[{"type": "function", "function": {"name": "x"}}],
        )
    assert refused.value.param == "tools"


def test_openais_own_retries_get_over_a_full_queue(serve) -> None:
    class Filling(FakeOwner):
        """Is full for the first two requests."""

        def submit(self, *arguments, **options):
            self.limit += 1
            self.waiting = 3
            return super().submit(*arguments, **options)

    with (
        serve(lambda: Filling(("x",), limit=1)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=3) as client,
    ):
        answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == "x"


def test_a_closed_stream_of_openai_ends_the_answer(scripted: Running) -> None:
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True)
        next(stream)
        ticket = scripted.owner.ticket()
        stream.close()
    eventually(lambda: ticket.cancelled)


# A client that leaves may drop a stream that it has not read, which is its own affair.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_many_clients_at_once_get_their_own_answers(server: Running, scene: str) -> None:
    questions = ["hi", "Describe this image.", "How many shapes are there?", "What is on the left?"]

    async def ask(client: openai.AsyncOpenAI, question: str, leave: bool) -> str:
        content = picture(scene, question) if question != "hi" else "hi"
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": content}], stream=True
        )
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
            if leave and text:
                await stream.close()
                return ""
        return text

    async def ask_all() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=5) as client:
            return await asyncio.gather(*(ask(client, questions[n % 4], n % 5 == 0) for n in range(20)))

    alone = [server.chat(picture(scene, q) if q != "hi" else "hi").json() for q in questions]
    expected = [answer["choices"][0]["message"]["content"] for answer in alone]
    texts = asyncio.run(ask_all())
    assert [text for n, text in enumerate(texts) if n % 5] == [expected[n % 4] for n in range(20) if n % 5]
    assert not server.server.service.live
    assert not [*server.server.service.reader.folder.iterdir()]


@pytest.mark.slow
def test_more_plain_requests_than_slots_are_all_answered(anywhere: Client, scene: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(lambda _: anywhere.chat(picture(scene), max_tokens=30), range(20))]
    texts = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert len(texts) == 20
    assert len({*texts}) == 1


def test_llm_asks_about_a_picture(anywhere: Client, tmp_path: Path) -> None:
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}

    def llm(*arguments: object) -> str:
        command = [sys.executable, "-m", "llm", "openai", "endpoint", f"{anywhere.url}/v1", *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        return done.stdout

    assert llm("--models") == f"{MODEL}\n"
    assert llm("-m", MODEL, "Describe this image.", "-a", ASSETS / "scene.png").startswith("There ")
    assert llm("-m", MODEL, "hi", "--no-stream").strip()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_asks_and_reads_a_stream(anywhere: Client, scene: str, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"messages": asked(scene), "stream": True}))
    command = ["curl", "-sSN", f"{anywhere.url}{CHAT}", "--json", f"@{request}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("data: [DONE]\n\n")
    large = tmp_path / "large.json"
    large.write_text(json.dumps({"messages": [{"role": "user", "content": "x" * 40_000_000}]}))
    command = ["curl", "-sS", "-w", "%{http_code}", f"{anywhere.url}{CHAT}", "--json", f"@{large}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("413")
