"""Who answers a run: a model that is loaded for it, or one that a server has loaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vita_demo.answer import Answer
from vita_demo.checkpoint.source import ModelSource
from vita_demo.console import Console
from vita_demo.console.display import Display
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.preprocess.media import Media


class Answerer(Protocol):
    """What a run needs of a model.

    Attributes:
        given: what callbacks may ask for by the names of their parameters.
    """

    given: Mapping[str, Any]

    @property
    def source(self) -> ModelSource | None:
        """What a saved run needs to be repeated; None where it cannot be."""

    @property
    def trained_positions(self) -> int:
        """The longest prompt that the model was trained with; 0 if unknown."""

    def open(self, request: Request, console: Console, display: Display) -> None:
        """Prepare to answer, and say what answers and what of the media it sees."""

    def stream(
        self,
        request: Request,
        options: GenerationOptions,
        callbacks: Sequence[GenerationCallback],
        signal: StopSignal,
        on_stage: Callable[[str], None],
    ) -> Iterator[Event]:
        """Answer token by token; see ``Pipeline.stream``."""

    def report(self, answer: Answer, options: GenerationOptions) -> dict[str, Any]:
        """Return the answer as the object that ``--json`` prints."""


def describe_stage(stage: str, media: "Media | None" = None) -> str:
    """Say what happens in a stage before the first token, with numbers if the media are given."""
    tiles = f"{len(media.tiles)} " if media is not None and media.tiles is not None else "the "
    frames = f"{len(media.fbank):,} frames of sound" if media is not None and media.fbank is not None else "the sound"
    return {
        "media": "reading the media",
        "vision": f"looking at {tiles}{'frames' if media is not None and media.frames else 'tiles'}",
        "audio": f"listening to {frames}",
        "prefill": "reading the prompt",
    }.get(stage, stage)
