"""How captures are made, with stand-ins for what torch has on a GPU only."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Thread
from time import sleep

import pytest
import torch

from vita_demo.model.decode import cuda_graph
from vita_demo.model.decode.cuda_graph import Captures, capture_on

DEVICE = torch.device("cuda", 0)


class Gpu:
    """Notes the stream of each capture; raises where a capture ends, if it is told to."""

    def __init__(self) -> None:
        self.stream, self.under_way, self.streams, self.pools = "own", 0, [], []
        self.fails = False

    @contextmanager
    def graph(self, graph: object, pool: object, stream: object, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        assert not self.under_way, "two captures at a time"
        self.streams.append(stream)
        self.pools.append(pool)
        self.stream, self.under_way = stream, self.under_way + 1
        yield
        self.under_way -= 1
        if self.fails:
            # As in torch: the stream is not restored.
            raise RuntimeError("capture_end")
        self.stream = "own"


class Graph:
    def replay(self) -> str:
        return "replayed"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    gpu = Gpu()
    monkeypatch.setattr(torch.cuda, "graph", gpu.graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: object())
    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: gpu.stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(gpu, "stream", stream))
    cuda_graph._capture_stream.cache_clear()
    yield gpu
    cuda_graph._capture_stream.cache_clear()


def test_a_replay_is_of_the_graph_that_took_the_call(gpu: Gpu) -> None:
    calls = []
    assert Captures().capture(DEVICE, lambda: calls.append(gpu.stream))() == "replayed"
    assert calls == gpu.streams
    assert gpu.stream == "own"


def test_all_captures_of_a_device_have_one_stream_and_are_made_one_at_a_time(gpu: Gpu) -> None:
    captures = Captures()
    threads = [Thread(target=captures.capture, args=(DEVICE, lambda: sleep(0.005))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gpu.streams) == 8
    assert len(set(gpu.streams)) == 1


def test_after_a_capture_that_failed_there_are_no_more_and_the_stream_is_the_callers(gpu: Gpu) -> None:
    captures, gpu.fails = Captures(), True
    with pytest.raises(RuntimeError, match="capture_end"):
        captures.capture(DEVICE, lambda: None)
    assert gpu.stream == "own"
    gpu.fails = False
    with pytest.raises(RuntimeError, match="an earlier capture failed in this process"):
        captures.capture(DEVICE, lambda: None)
    assert len(gpu.streams) == 1


def test_only_on_a_gpu_is_anything_captured() -> None:
    assert capture_on(torch.device("cpu")) is None
    assert capture_on(DEVICE) is not None


def test_calls_share_memory_where_that_is_asked_for(gpu: Gpu) -> None:
    for share_memory in (False, True, True):
        capture = capture_on(DEVICE, share_memory=share_memory)
        capture(lambda: None)
        capture(lambda: None)
    alone, first, second = gpu.pools[:2], gpu.pools[2:4], gpu.pools[4:]
    assert alone == [None, None]
    assert first[0] is first[1] is not None
    assert second[0] is second[1] is not first[0]
