"""What is installed works away from the checkout, and loading takes little more memory than the weights."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.load_memory import measure
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_a_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    names = {path.relative_to(site).as_posix() for path in site.rglob("*")}
    files = ("configs/vita15/prompts.yaml", "assets/scene.png", "commands/compare/page.html")
    assert {f"vita_demo/{file}" for file in files} <= names
    assert not any(name.startswith("tests") for name in names)
    environment = {**os.environ, "PYTHONPATH": str(site), "VITA_DEMO_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "vita_demo", "--max_new_tokens", "3", "--question", "hi"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip()
    where = [sys.executable, "-c", "import vita_demo; print(vita_demo.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert found.stdout.startswith(str(site))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_loading_needs_little_more_memory_than_the_weights(dtype: str) -> None:
    result = measure(300_000_000, dtype)
    assert result["weights_bytes"] > 290_000_000
    # A fixed part for reading buffers and the allocator; a second copy or mapped files would double the weights.
    assert result["peak_growth_bytes"] < 1.05 * result["weights_bytes"] + 100e6
