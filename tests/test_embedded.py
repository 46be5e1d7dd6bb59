"""The embedded model is made once, the same everywhere, and by whoever comes first."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vita_demo.embedded import embedded_checkpoint


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITA_DEMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_made_once_and_the_same_each_time(cache: Path) -> None:
    first = embedded_checkpoint()
    written = (first / "model.safetensors").stat().st_mtime_ns
    before = digest(first)
    assert embedded_checkpoint() == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    shutil.rmtree(cache)
    assert digest(embedded_checkpoint()) == before


def test_its_weights_are_pinned(embedded_pipeline) -> None:
    weight = embedded_pipeline.model.projector[0].weight
    assert weight.flatten()[:3].tolist() == pytest.approx([-0.01301, 0.11176, 0.13025], abs=1e-4)


def test_two_first_runs_at_once_leave_one_whole_folder(cache: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = {future.result() for future in [pool.submit(embedded_checkpoint) for _ in range(2)]}
    assert len(folders) == 1
    assert [path.name for path in cache.iterdir()] == [folders.pop().name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_replaced(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    assert (embedded_checkpoint() / "model.safetensors").is_file()
