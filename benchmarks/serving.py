"""What the server costs, and what remains of many clients: ``python -m benchmarks.serving [SERVE_FLAGS …]``.

A server in a process of its own; ratios of one run, since a busy machine changes both sides alike.
"""

import argparse
import asyncio
import base64
import io
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from vita_demo.pipeline import Pipeline
from vita_demo.request import Request
from vita_demo.resources import resource

QUESTIONS = ("Describe this image.", "How many shapes are there?", "What is at the top left?", "hi")
LONG = {"repetition_penalty": 0.1, "max_tokens": 1500}
"""Prefers what was said already, so that an answer goes on until its limit."""
_WORK = (("vision", "prefill"), ("media",))
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Server:
    """A server and the process that it is."""

    url: str
    pid: int

    def loop_cpu_s(self) -> float:
        """CPU time of the thread that runs the event loop."""
        fields = Path(f"/proc/{self.pid}/task/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def state(self) -> dict[str, int]:
        """Threads, open files, and resident memory in kB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+)", status)
        threads = re.search(r"Threads:\s+(\d+)", status)
        if resident is None or threads is None:
            raise OSError(f"/proc/{self.pid}/status tells neither memory nor threads")
        files = len([*Path(f"/proc/{self.pid}/fd").iterdir()])
        return {"threads": int(threads[1]), "files": files, "resident_kb": int(resident[1])}


@contextmanager
def serving(flags: list[str]) -> Iterator[Server]:
    """Run a server with the embedded model."""
    command = [sys.executable, "-m", "vita_demo", "serve", "--port", "0", "--device", "cpu", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        yield Server(line.split()[0], process.pid)
    finally:
        process.terminate()
        process.wait()


def body(question: str, picture: bytes | None = None, **fields: Any) -> dict[str, Any]:
    """Return a streamed question, about a picture (the sample by default) unless it is a greeting."""
    content = base64.b64encode(picture or resource("assets", "scene.png").read_bytes()).decode()
    parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if question != "hi":
        parts.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{content}"}})
    usage = {"include_usage": True}
    return {"messages": [{"role": "user", "content": parts}], "stream": True, "stream_options": usage, **fields}


@dataclass
class Read:
    """What a client read: its text, when the first came, when each chunk came, and the last chunk."""

    text: str
    first_s: float
    times_s: list[float]
    last: dict[str, Any]


async def ask(client: httpx.AsyncClient, question: str, leave: bool = False, **fields: Any) -> Read | None:
    """Stream one answer; ask again as long as the queue is full.  None for who leaves at the first text."""
    start_s = time.perf_counter()
    while True:
        async with client.stream("POST", CHAT, json=body(question, **fields)) as response:
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                response.raise_for_status()
                return await _read(response, start_s, leave)
        await asyncio.sleep(float(response.headers["retry-after"]))


async def _read(response: httpx.Response, start_s: float, leave: bool) -> Read | None:
    read = Read("", 0.0, [], {})
    async for line in response.aiter_lines():
        if not line.startswith("data: {"):
            continue
        chunk = httpx.Response(200, content=line.removeprefix("data: ")).json()
        read.last = chunk
        text = chunk["choices"][0]["delta"].get("content") if chunk["choices"] else ""
        if text:
            if leave:
                return None
            read.times_s.append(time.perf_counter())
            read.first_s = read.first_s or read.times_s[-1] - start_s
            read.text += text
    return read


def client_of(server: Server) -> httpx.AsyncClient:
    """Return a client for as many connections as are wanted."""
    return httpx.AsyncClient(base_url=server.url, timeout=600, limits=httpx.Limits(max_connections=None))


async def measure_cost(server: Server, runs: int) -> str:
    """Compare decoding over HTTP with the same in this process, in turn, and count the event loop's CPU time."""
    pipeline = Pipeline.load(device="cpu", threads=1)
    owner = pipeline.own(slots=1, positions=4096)
    ratios, tokens, cpu_s = [], 0, 0.0
    async with client_of(server) as client:
        for _ in range(runs + 1):
            before_s = server.loop_cpu_s()
            read = await ask(client, "hi", **LONG)
            if read is None:
                continue
            count = read.last["usage"]["completion_tokens"]
            tokens, cpu_s = tokens + count, cpu_s + server.loop_cpu_s() - before_s
            ratios.append(read.last["timings"]["decode_tps"] / _decode_tps(owner, pipeline))
    owner.close()
    ratio = statistics.median(ratios[1:])
    return f"decoding over HTTP: {ratio:.2f} of the speed in one process; {1e6 * cpu_s / tokens:.1f} µs of CPU a token"


def _decode_tps(owner: Any, pipeline: Pipeline) -> float:
    from vita_demo.generation.options import GenerationOptions
    from vita_demo.scheduling.dialogue import Dialogue, Exchange

    given = {("max_new_tokens" if name == "max_tokens" else name): value for name, value in LONG.items()}
    options = GenerationOptions.resolve(pipeline.settings.config.generation_defaults, **given)
    ticket = owner.submit(Dialogue((Exchange("hi"),)), options)
    events: list[Any] = []
    while not events or events[-1].answer is None:
        time.sleep(0.01)
        events += ticket.take()
    return float(events[-1].answer.stats.decode_tps)


async def measure_joining(server: Server, clients: int = 16) -> str:
    """Let clients come at once while one reads: when the last first text comes, and how the reader's gaps grow."""
    async with client_of(server) as client:
        reader = asyncio.create_task(ask(client, "hi", **LONG))
        await asyncio.sleep(1)
        reads = await asyncio.gather(*(ask(client, f"Describe this image, number {n}.") for n in range(clients)))
        long = await reader
    stages = [read.last["timings"]["stages"] for read in reads if read is not None]
    prefills_s, media_s = (sum(sum(stage[n] for n in names) for stage in stages) for names in _WORK)
    last_s = max(read.first_s for read in reads if read is not None)
    itl_s = long.last["timings"]["itl_s"] if long is not None else {"p50": 0.0, "p99": 0.0}
    return (
        f"{clients} clients at once: the last first text after {last_s:.2f} s, all encoding and prefill take "
        f"{prefills_s:.2f} s, reading the media {media_s:.2f} s; gaps of one that was reading: "
        f"median {1e3 * itl_s['p50']:.1f} ms, 99th percentile {1e3 * itl_s['p99']:.1f} ms"
    )


async def measure_crowd(server: Server, clients: int = 100, leavers: int = 20) -> str:
    """Let many ask and some leave; compare every text with the command line's, and what the server holds."""
    pipeline = Pipeline.load(device="cpu", threads=1)
    scene = (resource("assets", "scene.png"),)
    requests = [Request(question=q, image_paths=() if q == "hi" else scene) for q in QUESTIONS]
    expected = {request.question: pipeline.generate(request).text for request in requests}
    async with client_of(server) as client:
        await asyncio.gather(*(ask(client, QUESTIONS[n % 4]) for n in range(16)))
    before = server.state()
    leaving = {*range(0, clients, clients // leavers)}
    async with client_of(server) as client:
        reads = await asyncio.gather(*(ask(client, QUESTIONS[n % 4], n in leaving) for n in range(clients)))
    wrong = sum(read.text != expected[QUESTIONS[n % 4]] for n, read in enumerate(reads) if read is not None)
    await asyncio.sleep(2)
    return f"{clients} clients, of whom {leavers} left: {wrong} wrong texts; {before} before, {server.state()} after"


async def measure_pictures(server: Server, count: int) -> str:
    """Send different pictures one after the other; tell how resident memory grows once the cache of media is full."""
    scene = Image.open(resource("assets", "scene.png")).convert("RGB")
    async with client_of(server) as client:
        before = 0
        for number in range(count):
            if number == 3 * count // 10:
                before = server.state()["resident_kb"]
            scene.putpixel((number % scene.width, number // scene.width), (number % 256, 0, 0))
            buffer = io.BytesIO()
            scene.save(buffer, "PNG")
            await ask(client, "Describe this image.", picture=buffer.getvalue(), max_tokens=2)
    grown = server.state()["resident_kb"] - before
    return f"{count} pictures: resident memory grows by {grown / 1e3:.1f} MB after the first {3 * count // 10}"


async def main() -> None:
    """Measure all, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="Runs of the comparison with one process.")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--only", choices=["cost", "joining", "crowd", "pictures"])
    arguments, flags = parser.parse_known_args()
    measures = {
        "cost": lambda server: measure_cost(server, arguments.runs),
        "joining": measure_joining,
        "crowd": measure_crowd,
        "pictures": lambda server: measure_pictures(server, arguments.pictures),
    }
    with serving(["--threads", "1", "--parallel", "16", *flags]) as server:
        for name, measure in measures.items():
            if arguments.only in (None, name):
                print(await measure(server), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
