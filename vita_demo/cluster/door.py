"""The server on a cluster: the same application, as an ingress of Ray Serve.  It needs no torch."""

import asyncio
import time
from typing import Any

from vita_demo.checkpoint.source import ModelSource
from vita_demo.cluster.remote_owner import RemoteOwner
from vita_demo.serving.app import make_app
from vita_demo.serving.keys import Keys
from vita_demo.serving.server_options import ServerOptions
from vita_demo.serving.service import ModelInfo, make_service, model_name


class Door:
    """Takes requests, reads their media, and lets the copies of the model answer.

    Args:
        handle: of the copies.
        source: the model.
        options: how the server is set up.
        keys: who is let in.
    """

    def __init__(self, handle: Any, source: ModelSource, options: ServerOptions, keys: Keys) -> None:
        settings = source.read()
        positions = settings.config.text.max_position_embeddings
        info = ModelInfo(model_name(source, settings), int(time.time()), positions)
        self._service = make_service(settings, info, options)
        self._service.model_owner = RemoteOwner(handle, asyncio.get_running_loop())
        self._options, self._keys = options, keys

    def __serve_build_asgi_app__(self) -> Any:
        """Return the application; Ray Serve calls it once."""
        return make_app(self._service, self._options, self._keys)
