"""Fixtures: a Ray cluster of two nodes on this machine, and a server on it, shared by all tests that need them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vita_demo.checkpoint.locate import NOTICE

if TYPE_CHECKING:
    from tests.serving.running import Client

SMALL = {"object_store_memory": 100_000_000, "include_dashboard": False}
MARKS = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
"""Of every test that needs the cluster, of which each process of the tests has its own."""
LAZY = {"prestart_worker_first_driver": False}
"""A worker starts when there is work for it, and not one for each core."""


class TwoNodes:
    """Two nodes: the head with one core, and another with more, which may be killed and comes back."""

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": LAZY, **SMALL})
        self._other = self._add()
        ray.init(self.address, log_to_driver=False, logging_level="ERROR")

    @property
    def address(self) -> str:
        return self._cluster.address

    def kill_other(self) -> None:
        self._cluster.remove_node(self._other, allow_graceful=False)

    def bring_back(self) -> None:
        self._other = self._add()

    def close(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=4, **SMALL)


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[TwoNodes]:
    """The cluster, to which this process is connected."""
    pytest.importorskip("ray", reason="ray is not installed")
    nodes = TwoNodes()
    yield nodes
    nodes.close()


def replicas() -> list[int]:
    """Process ids of the copies of the model on this process's cluster, whose nodes it has started itself."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_copy = (folder / "cmdline").read_bytes().startswith(b"ray::ServeReplica:vita-demo:model")
            if is_copy and parent_of(parent_of(int(folder.name))) == os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def parent_of(process: int) -> int:
    """The id of the process that started another one."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(scope="session")
def ray_server(two_nodes: TwoNodes) -> "Iterator[Client]":
    """``vita-demo serve --ray`` with two copies of the embedded model."""
    flags = ["--ray", two_nodes.address, "--replicas", "2", "--port", "0", "--parallel", "4"]
    flags += ["--device", "cpu", "--dtype", "float32", "--threads", "1"]
    command = [sys.executable, "-m", "vita_demo", "serve", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+) serves vita-tiny\n", line)
        assert found, line + process.stderr.read()
        from tests.serving.running import Client

        yield Client(found[1])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)  # Ray tells on stdout that a worker was killed
        assert process.returncode == 0
        assert err == f"{NOTICE}\n"
    finally:
        process.kill()
        process.communicate()
        for replica in replicas():
            os.kill(replica, signal.SIGKILL)
