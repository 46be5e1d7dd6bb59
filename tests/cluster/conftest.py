"""A Ray cluster of two nodes on this machine, shared by all tests that need one."""

from collections.abc import Iterator
from typing import Any

import pytest

SMALL = {"object_store_memory": 100_000_000, "include_dashboard": False}


class TwoNodes:
    """Two nodes: the head with one core, and another with two, which may be killed and comes back."""

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **SMALL})
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
        return self._cluster.add_node(num_cpus=2, **SMALL)


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[TwoNodes]:
    """The cluster, to which this process is connected."""
    pytest.importorskip("ray", reason="ray is not installed")
    nodes = TwoNodes()
    yield nodes
    nodes.close()
