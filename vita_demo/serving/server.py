"""Runs the server: binds its address, loads the model beside, and ends in order."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from vita_demo.checkpoint.settings import Settings
from vita_demo.errors import InputError
from vita_demo.preprocess.decoder import end_decoders
from vita_demo.serving.app import make_app
from vita_demo.serving.connection import Connection
from vita_demo.serving.guard import MAX_HEADER_BYTES
from vita_demo.serving.keys import Keys
from vita_demo.serving.loops import call_soon, in_daemon
from vita_demo.serving.server_options import ServerOptions
from vita_demo.serving.service import ModelInfo, Owner, Service, make_service

_MAX_CONNECTIONS = 512
_KEEP_ALIVE_S = 30
_CLOSE_S = 2


class ModelServer:
    """Serves one model at one address until a signal ends it.

    Args:
        settings: the checkpoint's small files.
        name: the model's name for clients.
        options: how the server is set up.
        load: loads the weights and returns who makes answers; runs in a thread of its own.
        on_ready: learns the server's address when the weights are loaded.

    Attributes:
        address: where it can be reached, such as ``http://127.0.0.1:8000``.

    Raises:
        InputError: when the address cannot be had, or a file cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        options: ServerOptions,
        load: Callable[[], Owner],
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._info = ModelInfo(name, int(time.time()), settings.config.text.max_position_embeddings)
        self._options = options
        self._keys = Keys.read(options.api_key_file)
        check_certificate(options)
        self._load = load
        self._on_ready = on_ready
        self._socket = _bind(options)
        self.service: Service | None = None
        self._stop: Callable[[], None] = lambda: None
        self.address = address_of(options, self._socket.getsockname()[1])

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C, or until ``stop``.

        Raises:
            VitaDemoError: when the weights cannot be loaded.
        """
        asyncio.run(self._run())

    def stop(self) -> None:
        """End the server from another thread, as a signal does."""
        self._stop()

    async def _run(self) -> None:
        service = self.service = make_service(self._settings, self._info, self._options)
        server = _DrainingServer(_uvicorn_config(make_app(service, self._options, self._keys), self._options), service)
        self._stop = server.stop
        try:
            serving = asyncio.create_task(server.serve(sockets=[self._socket]))
            loading = in_daemon(self._load, "load")
            loading.add_done_callback(lambda future: self._loaded(future, service, server))
            await serving
            if loading.done():
                loading.result()
        finally:
            if service.model_owner is not None:
                await asyncio.wait([in_daemon(service.model_owner.close, "close")], timeout=_CLOSE_S)
            end_decoders()
            service.close()

    def _loaded(self, loading: "asyncio.Future[Owner]", service: Service, server: uvicorn.Server) -> None:
        if loading.exception() is not None:
            server.should_exit = True
            return
        service.model_owner = loading.result()
        self._on_ready(self.address)


class _DrainingServer(uvicorn.Server):
    """A server that goes on taking connections while its last answers end, so that ``/ready`` can say so."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Drain at the first signal, end at the second."""
        if self._service.draining:
            self.should_exit = self.force_exit = True
        self.stop()

    def stop(self) -> None:
        """Drain and end; may be called from a signal's handler or another thread."""
        call_soon(self._loop, self._begin_drain)

    def _begin_drain(self) -> None:
        if self._draining is None:
            self._service.draining = True
            self._draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        await self._service.drain()
        self.should_exit = True


def _uvicorn_config(app: ASGIApp, options: ServerOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what clients do wrong is theirs to know; the guard logs what is wrong here
        access_log=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_CLOSE_S,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )


def _bind(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"--host {options.host} --port {options.port} cannot be listened at ({error.strerror or error}); "
            "give another --port; 0 takes a free one"
        ) from error
    return listener


def address_of(options: ServerOptions, port: int) -> str:
    """Return where a server that listens at ``port`` can be reached."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{'https' if options.ssl_certfile else 'http'}://{host}:{port}"


def check_certificate(options: ServerOptions) -> None:
    """Refuse a certificate that cannot be used.

    Raises:
        InputError: saying why.
    """
    if options.ssl_certfile is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
    except OSError as error:
        raise InputError(
            f"--ssl_certfile {options.ssl_certfile} cannot be used ({error}); give the certificate and its "
            "--ssl_keyfile in PEM format"
        ) from error
