"""The modes of a comparison: each generates one answer, with the token ids and the text that its consumer received."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import pairwise, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from vita_demo.answer import Answer
from vita_demo.callbacks.builtin import LoggingCallback, PerformanceCallback, TraceCallback
from vita_demo.errors import ComparisonError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.generation.text_stream import TextStream
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.pipeline import Pipeline

TOGETHER = 4

Mode = Callable[["Pipeline", Request, GenerationOptions, StopSignal], Answer]
"""Generates one answer; a stop signal ends it early, with the tokens so far."""


def blocking(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> Answer:
    """Wait for the whole answer, without callbacks."""
    return pipeline.generate(request, options, signal=signal)


def streaming(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> Answer:
    """Print each token's text as ``--streaming`` does, and record the output."""
    printer, events = TextStream(pipeline.tokenizer), []
    with redirect_stdout(StringIO()) as printed:
        for event in pipeline.stream(request, options, signal=signal):
            events.append(event)
            printer.on_finalized_text(event.text, stream_end=event.finish_reason is not None)
    return replace(answer_of(events), text=printed.getvalue().removesuffix("\n"))


def callbacks(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> Answer:
    """Call the callbacks logging, performance and trace; record the ids and the text of the trace."""
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        observers = [LoggingCallback(), PerformanceCallback(), TraceCallback(str(trace))]
        answer = pipeline.generate(request, options, callbacks=observers, signal=signal)
        with trace.open(encoding="utf-8") as lines:
            tokens = [json.loads(line) for line in lines]
    ids, text = tuple(token["id"] for token in tokens), "".join(token["text"] for token in tokens)
    return replace(answer, token_ids=ids, text=text)


def iterator(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> Answer:
    """Join the pieces of text that an iterator receives from the generating thread."""
    end = _End()
    with pipeline.iterate(request, options, callbacks=[end]) as texts:
        text = "".join(takewhile(lambda _: signal.reason is None, texts))
    return replace(end.answer, text=text)


def transformers(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> Answer:
    """Wait for the whole answer of transformers' engine, which does not speculate."""
    return blocking(pipeline, request, replace(options, engine="transformers", speculate=0), signal)


def together(pipeline: "Pipeline", request: Request, options: GenerationOptions, signal: StopSignal) -> Answer:
    """Make four answers to the request at once, in steps that they share; the times are those of all their tokens.

    Raises:
        ComparisonError: when one of them has other tokens than the first.
    """
    start, answers = time.perf_counter(), {}
    times_s, texts_s = [], []
    many = pipeline.stream_many([request] * TOGETHER, replace(options, speculate=0), slots=TOGETHER, signal=signal)
    for index, event in many:
        if event.error is not None:
            raise event.error
        if event.answer is not None:
            answers[index] = event.answer
        else:
            times_s.append(event.time_s)
            texts_s += [event.time_s] if event.text else []
    if signal.reason is None and any(answer.token_ids != answers[0].token_ids for answer in answers.values()):
        raise ComparisonError("answers made together differ from one another: rows of one step round otherwise here")
    stats, gaps_s = answers[0].stats, [later - earlier for earlier, later in pairwise(times_s)]
    stats = replace(
        stats,
        stages={**stats.stages, "queued": 0.0, "decode": sum(gaps_s)},
        tokens=len(times_s),
        ttft_s=times_s[0] - start if times_s else None,
        ttft_text_s=texts_s[0] - start if texts_s else None,
        total_s=time.perf_counter() - start,
        token_gaps_s=gaps_s,
    )
    return replace(answers[0], stats=stats)


class _End(GenerationCallback):
    """Records the end of an answer, at no cost per token."""

    answer: Answer

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        self.answer = Answer("", tuple(output_ids.tolist()), kwargs["finish_reason"], stats=kwargs["stats"])


MODES: Mapping[str, Mode] = {
    "blocking": blocking,
    "streaming": streaming,
    "callbacks": callbacks,
    "iterator": iterator,
    "together": together,
    "transformers": transformers,
}
