"""Fixtures: the reference checkpoint and media, and the command line run in this process."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ("tests.ray_cluster",)
DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "assets"


def copy_checkpoint(source: Path, folder: Path, **changes: object) -> Path:
    """Copy a checkpoint with other values in its ``config.json``."""
    shutil.copytree(source, folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one error line."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("error: ")

    @property
    def json(self) -> dict:
        return json.loads(self.out)


def pytest_configure() -> None:
    """Set what libraries look at when they are imported, in the environment, so that started processes have it too.

    Each process computes on one thread: the models are small, and two workers with two threads each wait for one
    another.  Triton interprets its kernels where there is no GPU.
    """
    import os

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"
    # No verdict depends on how busy the machine is.
    hypothesis.settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests slow that ask for a whole model or a cluster."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.slow)
        if not {"embedded_pipeline", "tiny7", "reference_media"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    # A server keeps the cluster's cores, which the other tests need.
    items.sort(key=lambda item: "ray_server" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests away from the user's cache and from the network."""
    import os

    os.environ["VITA_DEMO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def use_profile() -> Iterator[Callable[..., None]]:
    """Decide by name which arithmetic the CPU uses, instead of by a stopwatch; see ``CpuProfile``."""
    from vita_demo.model.ops.cpu_profile import CpuProfile, use_cpu_profile

    yield lambda machine="", **choices: use_cpu_profile(CpuProfile(machine, choices))
    use_cpu_profile(None)


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    """Give back torch's threads, which benchmarks and ``--threads`` set for the whole process."""
    import torch

    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference checkpoint in the released layout."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny7"
    script = DATA / "reference" / "make_checkpoint.py"
    subprocess.run([sys.executable, script, "tiny7", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def reference_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The media that the golden files were computed from."""
    folder = tmp_path_factory.mktemp("media")
    subprocess.run([sys.executable, DATA / "reference" / "make_media.py", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def tiny7_pipeline(tiny7: Path):
    """The reference checkpoint, loaded in float32 on the CPU."""
    from vita_demo.pipeline import Pipeline

    return Pipeline.load(str(tiny7), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def embedded_pipeline(_own_cache: None):
    """The embedded model on the CPU."""
    from vita_demo.pipeline import Pipeline

    return Pipeline.load(device="cpu", dtype="float32")


@pytest.fixture
def float32_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line compute the same on every machine."""
    monkeypatch.setenv("VITA_DEMO_DEVICE", "cpu")
    monkeypatch.setenv("VITA_DEMO_DTYPE", "float32")


@pytest.fixture
def vita(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Run the command line in this process."""
    import logging

    from vita_demo.cli import main

    # The command line takes the package's log records over; each test gives them back.
    logger = logging.getLogger("vita_demo")
    for name in ("handlers", "propagate", "level"):
        monkeypatch.setattr(logger, name, getattr(logger, name))

    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["vita-demo", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Run(int(exit_.value.code or 0), captured.out, captured.err)

    return run
