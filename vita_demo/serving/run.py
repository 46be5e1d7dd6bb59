"""The command's body: the model and the server that gives it to others."""

from collections.abc import Callable
from typing import Any

from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.pipeline import Pipeline
from vita_demo.scheduling.owner import ModelOwner
from vita_demo.serving.server import ModelServer
from vita_demo.serving.server_options import ServerOptions
from vita_demo.serving.service import model_name
from vita_demo.stdout import write


def serve_model(
    source: ModelSource, settings: Settings, options: ServerOptions, describe: Callable[[Pipeline], dict[str, Any]]
) -> None:
    """Load a model and serve it until a signal ends the server; its address goes to stdout.

    Args:
        source: names the model.
        settings: its small files.
        options: how the server is set up.
        describe: says of the loaded model what ``--json`` does.

    Raises:
        VitaDemoError: when the address cannot be had, or the weights cannot be loaded.
    """

    def load() -> ModelOwner:
        pipeline = Pipeline.of(source, settings)
        owner = pipeline.own(slots=options.parallel, waiting=options.queue)
        about = describe(pipeline)
        # Where the folder lies is nobody's business.
        about["model"]["path"] = name
        owner.about = {**about, "trained_positions": settings.config.trained_positions}
        return owner

    name = model_name(source, settings)
    server = ModelServer(settings, name, options, load, lambda address: write(f"{address} serves {name}\n"))
    server.run()
