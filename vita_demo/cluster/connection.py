"""The cluster that ``--ray`` names, as long as a command needs it."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from vita_demo.cluster.pool import Pool
from vita_demo.errors import ConfigError, InputError

LOCAL = "local"
"""The address that starts a cluster on this machine alone, which ends with the command."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # errors that matter are raised, and others would break the command's own lines
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # who has no GPU sees none, without a notice of Ray at each start
}


def check_cluster(flags: Mapping[str, Any], pool: str, packages: Sequence[str]) -> None:
    """Refuse, before anything is imported, what ``--ray`` needs and is missing, and what needs ``--ray``.

    Args:
        flags: of the command.
        pool: the flag that says how many copies of the model there are.
        packages: what must be installed.

    Raises:
        ConfigError: naming what is missing.
    """
    if flags["ray"] is None:
        if flags[pool] is not None:
            raise ConfigError(f"--{pool} {flags[pool]} is for a cluster; give --ray too, or leave it out")
        return
    Pool.parse(flags[pool] or "1", f"--{pool}")
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(f"--ray needs {', '.join(missing)}; get what is missing: pip install '.[ray]' in its folder")


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster; where this process is already, that connection is used and stays.

    Args:
        address: ``local``, ``auto`` for one that runs on this machine, ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises:
        InputError: when there is none.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        with _without_stderr():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise InputError(
            f"--ray {address} is no cluster that can be reached ({first}); give HOST:PORT of one that runs, "
            "or --ray alone for one on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def be_quiet() -> None:
    """Keep the notices of Ray's libraries off the terminal; call it after they are imported, which sets their level."""
    for name in ("ray", "ray.data", "ray.serve"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Keep what Ray's C++ part writes at its start, its log level, off the terminal."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def cluster_gpus() -> float:
    """Count the GPUs of the cluster."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0))
