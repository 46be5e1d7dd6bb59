"""Servers that run: one with the embedded model, and others whose answers are scripted."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import ASSETS
from tests.serving.fakes import FakeOwner
from tests.serving.running import Running, data_url, running
from vita_demo.commands.report import describe
from vita_demo.scheduling.owner import ModelOwner


@pytest.fixture(scope="session")
def server(embedded_pipeline) -> Iterator[Running]:
    """A server with the embedded model."""

    def load() -> ModelOwner:
        owner = embedded_pipeline.own(slots=4, positions=8192)
        owner.about = {**describe(embedded_pipeline), "trained_positions": 6200}
        return owner

    with running(load) as server:
        yield server


@pytest.fixture
def scripted() -> Iterator[Running]:
    """A server whose answers a test makes."""
    with running(FakeOwner) as server:
        yield server


@pytest.fixture
def answering() -> Iterator[Running]:
    """A server that always gives the same answer at once."""
    with running(lambda: FakeOwner(("Hello", " there", "."))) as server:
        yield server


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Make servers with other options."""
    return running


@pytest.fixture(scope="session")
def scene() -> str:
    """The sample picture."""
    return data_url(ASSETS / "scene.png")
