"""The modes of a comparison: each generates one answer and records what its consumer received."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from vita_demo.callbacks.builtin import LoggingCallback, PerformanceCallback, TraceCallback
from vita_demo.commands.compare.record import ModeRun
from vita_demo.errors import ConfigError, GenerationError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.generation.text_stream import TextStream
from vita_demo.metrics import RunStats
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.pipeline import Pipeline

Mode = Callable[["Pipeline", Request, GenerationOptions, StopSignal], ModeRun]
"""Generates one answer; a stop signal ends it early, with the tokens so far."""

DEFAULT_SEED = 0


def comparable(options: GenerationOptions) -> GenerationOptions:
    """Make ``options`` repeatable: sampling without a seed gets ``DEFAULT_SEED``.

    Raises:
        ConfigError: when the options end runs at different tokens or cannot stream.
    """
    if options.num_beams > 1:
        raise ConfigError(f"--num_beams {options.num_beams} cannot be compared: beams cannot stream; leave it out")
    if options.time_limit_s is not None:
        raise ConfigError(
            f"--time_limit_s {options.time_limit_s:g} ends each run at another token; give --max_new_tokens instead"
        )
    seedless = options.do_sample and options.seed is None
    return replace(options, seed=DEFAULT_SEED) if seedless else options


def blocking(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> ModeRun:
    """Wait for the whole answer, without callbacks."""
    answer = pipeline.generate(request, options, signal=signal)
    return ModeRun(answer.token_ids, answer.text, answer.stats)


def streaming(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> ModeRun:
    """Print each token's text as ``--streaming`` does, and record the output."""
    printer, events = TextStream(pipeline.tokenizer), []
    with redirect_stdout(StringIO()) as printed:
        for event in pipeline.stream(request, options, signal=signal):
            events.append(event)
            printer.on_finalized_text(event.text, stream_end=event.finish_reason is not None)
    answer = answer_of(events)
    return ModeRun(answer.token_ids, printed.getvalue().removesuffix("\n"), answer.stats)


def callbacks(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> ModeRun:
    """Call the callbacks logging, performance and trace; record the ids and the text of the trace."""
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        observers = [LoggingCallback(), PerformanceCallback(), TraceCallback(str(trace))]
        answer = pipeline.generate(request, options, callbacks=observers, signal=signal)
        with trace.open(encoding="utf-8") as lines:
            tokens = [json.loads(line) for line in lines]
    return ModeRun(tuple(token["id"] for token in tokens), "".join(token["text"] for token in tokens), answer.stats)


def iterator(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> ModeRun:
    """Join the pieces of text that an iterator receives from the generating thread."""
    end = _End()
    with pipeline.iterate(request, options, callbacks=[end]) as texts:
        text = "".join(takewhile(lambda _: signal.reason is None, texts))
    if end.stats is None:
        raise GenerationError("the iterator ended without statistics; this is a defect of vita-demo")
    return ModeRun(end.token_ids, text, end.stats)


def transformers(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> ModeRun:
    """Wait for the whole answer of transformers' engine, which does not speculate."""
    return blocking(pipeline, request, replace(options, engine="transformers", speculate=0), signal)


class _End(GenerationCallback):
    """Records ids and statistics at the end, at no cost per token."""

    def __init__(self) -> None:
        self.token_ids: tuple[int, ...] = ()
        self.stats: RunStats | None = None

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        self.token_ids, self.stats = tuple(output_ids), kwargs["stats"]


MODES: Mapping[str, Mode] = {
    "blocking": blocking,
    "streaming": streaming,
    "callbacks": callbacks,
    "iterator": iterator,
    "transformers": transformers,
}
