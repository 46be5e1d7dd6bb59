"""A model that a server has loaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vita_demo.answer import Answer
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.answer_record import answer_record
from vita_demo.commands.run.answerer import describe_stage
from vita_demo.console import Console
from vita_demo.console.display import Display
from vita_demo.generation.callbacks import GenerationCallback, wanted_logprobs
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request
from vita_demo.serving.client import RemoteModel


class ServedModel:
    """A model that a server has.

    Args:
        url: the server's address.
        asked: the fields that say how to generate, as the flags were given; the server chooses the others.
    """

    source: ModelSource | None = None
    given: Mapping[str, Any] = MappingProxyType({"tokenizer": None})

    def __init__(self, url: str, asked: Mapping[str, Any]) -> None:
        self._model, self._asked = RemoteModel(url), asked

    @property
    def trained_positions(self) -> int:
        """The longest prompt that the model was trained with; 0 before it answers."""
        return int(self._model.about.get("trained_positions") or 0)

    def open(self, request: Request, console: Console, display: Display) -> None:  # noqa: ARG002
        """Say that the server is asked."""
        display.stage("asking the server")

    def stream(
        self,
        request: Request,
        options: GenerationOptions,
        callbacks: Sequence[GenerationCallback],
        signal: StopSignal,
        on_stage: Callable[[str], None],
    ) -> Iterator[Event]:
        """Answer token by token; see ``Pipeline.stream``."""
        top = wanted_logprobs(options.top_logprobs, callbacks)
        logprobs = {} if top is None else {"logprobs": True, "top_logprobs": top}
        return self._model.stream(
            request,
            {**self._asked, **logprobs},
            callbacks=callbacks,
            strict=options.strict_callbacks,
            signal=signal,
            on_stage=lambda stage: on_stage(describe_stage(stage)),
        )

    def report(self, answer: Answer, options: GenerationOptions) -> dict[str, Any]:  # noqa: ARG002
        """Return the answer as the object that ``--json`` prints."""
        return answer_record(answer, self._model.about)
