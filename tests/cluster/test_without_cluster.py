"""What of a batch on a cluster needs none: flags, shares, stages, and rows that come twice or never."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ASSETS, Run
from vita_demo.checkpoint.source import ModelSource
from vita_demo.cluster import connection
from vita_demo.cluster.answers import ClusterAnswers
from vita_demo.cluster.pool import Pool, Share
from vita_demo.errors import ConfigError, GenerationError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request

SOURCE = ModelSource()


@pytest.mark.parametrize(
    ("text", "pool"), [("3", Pool(3, 3)), ("1:8", Pool(1, 8)), ("2:", Pool(2, None)), ("4:4", Pool(4, 4))]
)
def test_a_pool_is_a_number_or_two(text: str, pool: Pool) -> None:
    assert Pool.parse(text, "--workers") == pool


@pytest.mark.parametrize("text", ["0", "3:2", "x", ":4", "1:2:3", "-1", ""])
def test_other_pools_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^--workers {text} "):
        Pool.parse(text, "--workers")


def test_a_copy_gets_a_gpu_where_there_are_some_else_as_many_cores_as_it_has_threads() -> None:
    assert Share.of(SOURCE, 8.0) == Share(1, 1)
    assert Share.of(ModelSource(device="cpu", threads=4), 8.0) == Share(0, 4)
    assert Share.of(ModelSource(threads=4), 0.0) == Share(0, 4)
    with pytest.raises(ConfigError, match="cuda:1 names one GPU"):
        Share.of(ModelSource(device="cuda:1"), 8.0)
    assert Share.of(ModelSource(device="cuda"), 0.0) == Share(1, 1)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--workers", "2"), "--workers 2 is for a cluster; give --ray too"),
        (("--ray", "--workers", "2:1"), "--workers 2:1 must begin"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    vita: Callable[..., Run], tmp_path: Path, flags: Sequence[str], says: str
) -> None:
    run = vita("batch", tmp_path, "--output", tmp_path / "out.jsonl", *flags)
    assert run.code == 2
    assert says in run.error


def test_without_ray_one_line_says_how_to_get_it(
    vita: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    run = vita("batch", tmp_path, "--output", tmp_path / "out.jsonl", "--ray")
    assert run.code == 2
    assert run.error.endswith("get what is missing: pip install '.[ray]' in its folder")
    assert run.error.startswith("--ray needs ray, ")


# Stages, in this process


def test_reading_turns_what_fails_into_the_rows_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from vita_demo.cluster.stages import pack, read_media, unpack

    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone.png"
    gone.write_bytes((ASSETS / "scene.png").read_bytes())
    requests = [Request("what?", (ASSETS / "scene.png",)), Request("what?", (gone,)), Request("hi")]
    gone.unlink()
    table = read_media(pack(enumerate(requests)), SOURCE.read().config, str(tmp_path / "no such folder"))
    (_, whole), (_, failed), (_, text) = unpack(table)
    assert whole[1].exchanges[0].media.tiles.shape[0] > 0
    assert failed.finish_reason == "error"
    assert "gone.png" in str(failed.error)
    assert text[1].exchanges[0].question == "hi"
    assert [number for number, _ in unpack(table)] == [0, 1, 2]


# Rows that come twice, never, or not before the end


class Given:
    """A dataset that gives the tables it was made with."""

    def __init__(self, *numbers: Sequence[int], error: Exception | None = None) -> None:
        self._numbers, self._error = numbers, error
        self.go_on = threading.Event()
        self.go_on.set()

    def iter_batches(self, **_: Any) -> Iterator[Any]:
        from vita_demo.cluster.stages import pack

        for numbers in self._numbers:
            yield pack((number, Event("", 0.0, number, finish_reason="stop")) for number in numbers)
        if self._error is not None:
            raise self._error
        self.go_on.wait(30)


def stream(dataset: Given, monkeypatch: pytest.MonkeyPatch, signal: StopSignal | None = None) -> Iterator[int]:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr(ClusterAnswers, "_dataset", lambda *_: dataset)
    answers = ClusterAnswers(SOURCE, SOURCE.read().config, Pool(), Share(0, 1))
    requests = [Request(f"What is {number}?") for number in range(4)]
    options = GenerationOptions()
    events = answers.stream_many(requests, options, slots=None, signal=signal or StopSignal(), isolated=True)
    return (number for number, _ in events)


def test_a_row_that_comes_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [*stream(Given([2, 3], [0, 1], [2, 3]), monkeypatch)] == [2, 3, 0, 1]


def test_rows_that_never_come_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GenerationError, match="has lost 2 rows; the same command does them again"):
        [*stream(Given([2, 3]), monkeypatch)]


def test_the_cause_of_a_clusters_end_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Given([0], error=RuntimeError("a long\ntraceback\nCheckpointError: no such model\n"))
    rows = stream(broken, monkeypatch)
    assert next(rows) == 0
    with pytest.raises(GenerationError, match=r"gave up \(CheckpointError: no such model\); the same command"):
        next(rows)


def test_a_stop_does_not_wait_for_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    signal, dataset = StopSignal(), Given([0, 1])
    dataset.go_on.clear()
    rows = stream(dataset, monkeypatch, signal)
    assert [next(rows), next(rows)] == [0, 1]
    signal.request("cancelled")
    assert [*rows] == []
    dataset.go_on.set()
