"""vita-demo: run and watch the multimodal model VITA-1.5.

The public names are imported when they are first used (PEP 562), so that ``import vita_demo`` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Answer": "vita_demo.answer",
    "BackgroundIterator": "vita_demo.generation.background",
    "CallbackStreamer": "vita_demo.generation.streamers",
    "Conversation": "vita_demo.conversation",
    "Event": "vita_demo.generation.events",
    "FileCallback": "vita_demo.callbacks.builtin",
    "GenerationCallback": "vita_demo.generation.callbacks",
    "GenerationControl": "vita_demo.generation.callbacks",
    "GenerationOptions": "vita_demo.generation.options",
    "LoggingCallback": "vita_demo.callbacks.builtin",
    "MemoryCallback": "vita_demo.callbacks.builtin",
    "PerformanceCallback": "vita_demo.callbacks.builtin",
    "ModelSource": "vita_demo.checkpoint.source",
    "Pipeline": "vita_demo.pipeline",
    "ProgressCallback": "vita_demo.callbacks.builtin",
    "Request": "vita_demo.request",
    "PromptSummary": "vita_demo.answer",
    "RunStats": "vita_demo.metrics",
    "StopSignal": "vita_demo.generation.stopping",
    "TextIteratorStreamer": "vita_demo.generation.streamers",
    "TextStreamer": "vita_demo.generation.streamers",
    "TraceCallback": "vita_demo.callbacks.builtin",
    "Turn": "vita_demo.answer",
    "VITAModelWithCallbacks": "vita_demo.api",
    "VitaDemoError": "vita_demo.errors",
    "generate_with_callbacks": "vita_demo.api",
    "generate_with_iterator_streamer": "vita_demo.api",
    "generate_with_streaming": "vita_demo.api",
    "load_pretrained": "vita_demo.api",
    "prepare_inputs": "vita_demo.api",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - they are strings

if TYPE_CHECKING:
    # Type checkers take a public name from an import under its own name.
    from vita_demo.answer import Answer as Answer
    from vita_demo.answer import PromptSummary as PromptSummary
    from vita_demo.answer import Turn as Turn
    from vita_demo.api import VITAModelWithCallbacks as VITAModelWithCallbacks
    from vita_demo.api import generate_with_callbacks as generate_with_callbacks
    from vita_demo.api import generate_with_iterator_streamer as generate_with_iterator_streamer
    from vita_demo.api import generate_with_streaming as generate_with_streaming
    from vita_demo.api import load_pretrained as load_pretrained
    from vita_demo.api import prepare_inputs as prepare_inputs
    from vita_demo.callbacks.builtin import FileCallback as FileCallback
    from vita_demo.callbacks.builtin import LoggingCallback as LoggingCallback
    from vita_demo.callbacks.builtin import MemoryCallback as MemoryCallback
    from vita_demo.callbacks.builtin import PerformanceCallback as PerformanceCallback
    from vita_demo.callbacks.builtin import ProgressCallback as ProgressCallback
    from vita_demo.callbacks.builtin import TraceCallback as TraceCallback
    from vita_demo.checkpoint.source import ModelSource as ModelSource
    from vita_demo.conversation import Conversation as Conversation
    from vita_demo.errors import VitaDemoError as VitaDemoError
    from vita_demo.generation.background import BackgroundIterator as BackgroundIterator
    from vita_demo.generation.callbacks import GenerationCallback as GenerationCallback
    from vita_demo.generation.callbacks import GenerationControl as GenerationControl
    from vita_demo.generation.events import Event as Event
    from vita_demo.generation.options import GenerationOptions as GenerationOptions
    from vita_demo.generation.stopping import StopSignal as StopSignal
    from vita_demo.generation.streamers import CallbackStreamer as CallbackStreamer
    from vita_demo.generation.streamers import TextIteratorStreamer as TextIteratorStreamer
    from vita_demo.generation.streamers import TextStreamer as TextStreamer
    from vita_demo.metrics import RunStats as RunStats
    from vita_demo.pipeline import Pipeline as Pipeline
    from vita_demo.request import Request as Request


def __getattr__(name: str) -> Any:
    """Import the module that defines ``name``."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vita_demo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
