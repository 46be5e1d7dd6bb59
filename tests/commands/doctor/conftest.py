"""Copies of the embedded checkpoint that a test may damage."""

import shutil
from pathlib import Path

import pytest

from tools.save_checkpoint import save_checkpoint
from vita_demo.pipeline import Pipeline


@pytest.fixture
def copy(embedded_pipeline: Pipeline, tmp_path: Path) -> Path:
    """A copy in one weight file."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(embedded_pipeline.settings.folder, folder)
    return folder


@pytest.fixture
def sharded(copy: Path, embedded_pipeline: Pipeline) -> Path:
    """A copy in shards."""
    (copy / "model.safetensors").unlink()
    save_checkpoint(embedded_pipeline.model, copy, shard_bytes=4_000_000)
    return copy
