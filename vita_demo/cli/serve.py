"""The command that serves the model over HTTP."""

import logging
from dataclasses import fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from vita_demo.checkpoint.locate import source_notes
from vita_demo.cli.command import command, option_group
from vita_demo.cli.options import FILE, make_source, model_options, ray_option
from vita_demo.cluster.connection import check_cluster
from vita_demo.cluster.pool import Pool
from vita_demo.errors import ConfigError
from vita_demo.serving.server_options import ServerOptions

if TYPE_CHECKING:
    from vita_demo.console import Console

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")

server_options = option_group(
    "Server",
    click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 is everywhere."),
    click.option("--port", default=8000, show_default=True, help="0 takes a free one."),
    click.option("--queue", default=64, show_default=True, help="At most so many requests wait."),
    click.option("--parallel", type=int, metavar="N", help="Make N answers at once; by default as many as fit."),
    click.option("--time_limit_s", default=300.0, show_default=True, help="End an answer after so many seconds."),
    click.option("--max_body_mb", default=32.0, show_default=True, help="The largest request, media included."),
    click.option("--page", is_flag=True, default=True, help="Serve a page for people at /; --no_page serves none."),
)
access_options = option_group(
    "Access",
    click.option("--api_key_file", type=FILE, help="A file with one API key a line; requests must bring one."),
    click.option("--allow_anyone", is_flag=True, help="Listen beyond this machine without a key."),
    click.option(
        "--allow_origin",
        "allow_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Answer pages of this origin, such as https://vita.example.org behind a proxy; repeatable.",
    ),
    click.option(
        "--allow_media_domain",
        "media_domains",
        multiple=True,
        metavar="HOST",
        help="Fetch media from this host, over https; repeatable.",
    ),
    click.option("--ssl_certfile", type=FILE, help="Serve https with this certificate."),
    click.option("--ssl_keyfile", type=FILE, help="The certificate's private key."),
)
cluster_options = option_group(
    "Many machines",
    ray_option,
    click.option("--replicas", metavar="MIN:MAX", help="Copies of the model on the cluster; 1 by default."),
)


@command(server_options, access_options, cluster_options, model_options)
def serve(console: "Console", **flags: Any) -> None:
    """Serve VITA-1.5 over HTTP: OpenAI's API for programs, and a page for people.

    Only this machine reaches it, unless --host says otherwise.  Ctrl-C lets the last answers end.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"serve needs {', '.join(missing)}; get what is missing: pip install '.[serve]' in its folder"
        )
    check_cluster(flags, "replicas", ("ray",))
    options = ServerOptions(**{field.name: flags[field.name] for field in fields(ServerOptions)})
    source = make_source(flags)
    settings = source.read()
    for note in source_notes(source.model_path):
        console.note(note)

    if flags["debug"]:
        console.handle_logs(logging.DEBUG)

    if flags["ray"] is not None:
        from vita_demo.cluster.serving import serve_on_cluster

        pool = Pool.parse(flags["replicas"] or "1", "--replicas")
        serve_on_cluster(flags["ray"], pool, source, options)
        return

    from vita_demo.commands.report import describe
    from vita_demo.serving.run import serve_model

    serve_model(source, settings, options, describe)
