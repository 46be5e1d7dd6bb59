"""Puts a server and copies of the model on a cluster, as an application of Ray Serve."""

import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ray import serve

from vita_demo.checkpoint.source import ModelSource
from vita_demo.cluster.connection import LOCAL, be_quiet, cluster_gpus, connected
from vita_demo.cluster.door import Door
from vita_demo.cluster.model import Model
from vita_demo.cluster.pool import Pool, Share
from vita_demo.errors import ConfigError
from vita_demo.serving.keys import Keys
from vita_demo.serving.server import address_of, check_certificate
from vita_demo.serving.server_options import ServerOptions
from vita_demo.serving.service import model_name
from vita_demo.stdout import write

NAME = "vita-demo"
DEFAULT_SLOTS = 8
_MAX_CONNECTIONS = 512
_DRAIN_S = 60.0
_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
_FILES = ("vision_tower", "audio_encoder", "api_key_file", "ssl_certfile", "ssl_keyfile")
_QUIET = {"log_level": "ERROR", "enable_access_log": False}


def deploy(source: ModelSource, options: ServerOptions, pool: Pool) -> Any:
    """Describe the server and the copies of the model as an application of Ray Serve."""
    share, slots = Share.of(source, cluster_gpus()), options.parallel or DEFAULT_SLOTS
    most = pool.most or pool.least
    scaling: dict[str, Any] = {"num_replicas": pool.least}
    if most > pool.least:
        limits = {"min_replicas": pool.least, "max_replicas": most, "target_ongoing_requests": slots}
        scaling = {"autoscaling_config": limits}
    copies = serve.deployment(
        Model,
        name="model",
        # Half of them wait in the copy, so that no slot does.
        max_ongoing_requests=2 * slots,
        graceful_shutdown_timeout_s=_DRAIN_S,
        request_router_config={"request_router_class": _ROUTER},
        ray_actor_options={"num_cpus": share.cores, "num_gpus": share.gpus},
        **scaling,
    ).bind(source, options.parallel)
    door = serve.deployment(
        serve.ingress()(Door),
        name="door",
        max_ongoing_requests=_MAX_CONNECTIONS,
        graceful_shutdown_timeout_s=_DRAIN_S,
        ray_actor_options={"num_cpus": 1},
    )
    return door.bind(copies, source, options, Keys.read(options.api_key_file))


def application(arguments: dict[str, Any]) -> Any:
    """Build the application from a file of Ray Serve; see ``read_arguments``."""
    return deploy(*read_arguments(arguments))


def read_arguments(arguments: Mapping[str, Any]) -> tuple[ModelSource, ServerOptions, Pool]:
    """Read what a file of Ray Serve passes: flags of ``vita-demo serve`` by their names.

    Raises:
        ConfigError: when a name is none of them, or a value cannot be used.
    """
    names = {kind: [each.name for each in fields(kind)] for kind in (ModelSource, ServerOptions)}
    unknown = set(arguments) - {"replicas", *names[ModelSource], *names[ServerOptions]}
    if unknown:
        raise ConfigError(f"{', '.join(sorted(unknown))} is no flag of vita-demo serve that a cluster knows")
    given: dict[str, Any] = {name: Path(value) if name in _FILES else value for name, value in arguments.items()}
    source, options = ({name: given[name] for name in kind if name in given} for kind in names.values())
    pool = Pool.parse(str(given.get("replicas", 1)), "--replicas")
    return ModelSource(**source), ServerOptions(**options), pool


def serve_on_cluster(address: str, pool: Pool, source: ModelSource, options: ServerOptions) -> None:
    """Serve until a signal ends it; the address goes to stdout.

    Raises:
        VitaDemoError: when the cluster cannot be reached, or a file cannot be read.
    """
    check_certificate(options)
    options = options if options.port else replace(options, port=_free_port(options.host))
    be_quiet()
    with connected(address):
        serve.start(
            proxy_location="HeadOnly" if address == LOCAL else "EveryNode",
            http_options={
                "host": options.host,
                "port": options.port,
                "ssl_certfile": options.ssl_certfile and str(options.ssl_certfile),
                "ssl_keyfile": options.ssl_keyfile and str(options.ssl_keyfile),
            },
            logging_config=_QUIET,
        )
        try:
            serve.run(deploy(source, options, pool), name=NAME, logging_config=_QUIET)
            write(f"{address_of(options, options.port)} serves {model_name(source, source.read())}\n")
            _wait()
        finally:
            serve.delete(NAME)


def _wait() -> None:
    """Wait for SIGTERM or Ctrl-C."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])
