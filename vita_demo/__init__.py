"""vita-demo: run and watch the multimodal model VITA-1.5.

The public names are imported when they are first used (PEP 562), so that ``import vita_demo`` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Answer": "vita_demo.pipeline",
    "EndEvent": "vita_demo.generation.events",
    "GenerationOptions": "vita_demo.generation.options",
    "Pipeline": "vita_demo.pipeline",
    "Request": "vita_demo.request",
    "StopSignal": "vita_demo.generation.stopping",
    "TokenEvent": "vita_demo.generation.events",
    "VitaDemoError": "vita_demo.errors",
}
__all__ = [
    "Answer",
    "EndEvent",
    "GenerationOptions",
    "Pipeline",
    "Request",
    "StopSignal",
    "TokenEvent",
    "VitaDemoError",
]

if TYPE_CHECKING:
    from vita_demo.errors import VitaDemoError
    from vita_demo.generation.events import EndEvent, TokenEvent
    from vita_demo.generation.options import GenerationOptions
    from vita_demo.generation.stopping import StopSignal
    from vita_demo.pipeline import Answer, Pipeline
    from vita_demo.request import Request


def __getattr__(name: str) -> Any:
    """Import the module that defines ``name``."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vita_demo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
