"""vita-demo: run and watch the multimodal model VITA-1.5.

The public names are imported when they are first used (PEP 562), so that ``import vita_demo`` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Answer": "vita_demo.pipeline",
    "BackgroundIterator": "vita_demo.generation.background",
    "CallbackStreamer": "vita_demo.generation.streamers",
    "Conversation": "vita_demo.conversation",
    "EndEvent": "vita_demo.generation.events",
    "FileCallback": "vita_demo.callbacks.builtin",
    "GenerationCallback": "vita_demo.generation.callbacks",
    "GenerationControl": "vita_demo.generation.callbacks",
    "GenerationOptions": "vita_demo.generation.options",
    "LoggingCallback": "vita_demo.callbacks.builtin",
    "MemoryCallback": "vita_demo.callbacks.builtin",
    "PerformanceCallback": "vita_demo.callbacks.builtin",
    "Pipeline": "vita_demo.pipeline",
    "ProgressCallback": "vita_demo.callbacks.builtin",
    "Request": "vita_demo.request",
    "RunStats": "vita_demo.metrics",
    "StopSignal": "vita_demo.generation.stopping",
    "TextIteratorStreamer": "vita_demo.generation.streamers",
    "TextStreamer": "vita_demo.generation.streamers",
    "TokenEvent": "vita_demo.generation.events",
    "TraceCallback": "vita_demo.callbacks.builtin",
    "Turn": "vita_demo.answer",
    "TurnStart": "vita_demo.answer",
    "VITAModelWithCallbacks": "vita_demo.wrapper",
    "VitaDemoError": "vita_demo.errors",
    "generate_with_callbacks": "vita_demo.api",
    "generate_with_iterator_streamer": "vita_demo.api",
    "generate_with_streaming": "vita_demo.api",
    "load_pretrained": "vita_demo.api",
    "prepare_inputs": "vita_demo.api",
}
__all__ = [
    "Answer",
    "BackgroundIterator",
    "CallbackStreamer",
    "Conversation",
    "EndEvent",
    "FileCallback",
    "GenerationCallback",
    "GenerationControl",
    "GenerationOptions",
    "LoggingCallback",
    "MemoryCallback",
    "PerformanceCallback",
    "Pipeline",
    "ProgressCallback",
    "Request",
    "RunStats",
    "StopSignal",
    "TextIteratorStreamer",
    "TextStreamer",
    "TokenEvent",
    "TraceCallback",
    "Turn",
    "TurnStart",
    "VITAModelWithCallbacks",
    "VitaDemoError",
    "generate_with_callbacks",
    "generate_with_iterator_streamer",
    "generate_with_streaming",
    "load_pretrained",
    "prepare_inputs",
]

if TYPE_CHECKING:
    from vita_demo.answer import Turn, TurnStart
    from vita_demo.api import (
        generate_with_callbacks,
        generate_with_iterator_streamer,
        generate_with_streaming,
        load_pretrained,
        prepare_inputs,
    )
    from vita_demo.callbacks.builtin import (
        FileCallback,
        LoggingCallback,
        MemoryCallback,
        PerformanceCallback,
        ProgressCallback,
        TraceCallback,
    )
    from vita_demo.conversation import Conversation
    from vita_demo.errors import VitaDemoError
    from vita_demo.generation.background import BackgroundIterator
    from vita_demo.generation.callbacks import GenerationCallback, GenerationControl
    from vita_demo.generation.events import EndEvent, TokenEvent
    from vita_demo.generation.options import GenerationOptions
    from vita_demo.generation.stopping import StopSignal
    from vita_demo.generation.streamers import CallbackStreamer, TextIteratorStreamer, TextStreamer
    from vita_demo.metrics import RunStats
    from vita_demo.pipeline import Answer, Pipeline
    from vita_demo.request import Request
    from vita_demo.wrapper import VITAModelWithCallbacks


def __getattr__(name: str) -> Any:
    """Import the module that defines ``name``."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vita_demo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
