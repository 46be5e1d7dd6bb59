"""Runs a comparison: one warm-up of each mode, then the modes in turn, then the check that all answers are equal."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version

import vita_demo
from vita_demo.commands.compare.modes import MODES, Mode, comparable
from vita_demo.commands.compare.record import Comparison, Difference, ModeResult, ModeRun
from vita_demo.commands.difference import first_difference
from vita_demo.commands.report import describe_host, describe_model
from vita_demo.generation.background import BackgroundIterator
from vita_demo.generation.options import GenerationOptions
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
# Tokens before a difference that its text shows.
_CONTEXT = 6


def compare(
    pipeline: Pipeline,
    request: Request,
    options: GenerationOptions,
    *,
    modes: Sequence[str] = tuple(MODES),
    runs: int = 5,
    progress: Callable[[str], object] = lambda _mode: None,
) -> Comparison:
    """Answer ``request`` in each of ``modes``: once as a warm-up, then ``runs`` times, the modes taking turns.

    Args:
        pipeline: the loaded model.
        request: the question.
        options: how to generate.
        modes: names of ``MODES``.
        runs: measured runs of each mode.
        progress: called with the name of the mode before each run.

    Raises:
        ConfigError: when the options allow no comparison; see ``comparable``.
        VitaDemoError: see ``Pipeline.stream``.
    """
    options = comparable(options)
    host = {**describe_host(pipeline), "load_average": _load_average()}
    measured: dict[str, list[ModeRun]] = {name: [] for name in modes}
    for number in range(runs + 1):
        for name in modes:
            progress(name)
            run = run_in_thread(MODES[name], pipeline, request, options)
            if number:
                measured[name].append(run)
    comparison = Comparison(
        request=request.to_json(),
        options=asdict(options),
        model=describe_model(pipeline),
        host=host,
        versions={"vita-demo": vita_demo.__version__, **{name: version(name) for name in _PACKAGES}},
        modes=tuple(ModeResult(name, tuple(measured[name])) for name in modes),
    )
    decode = partial(pipeline.tokenizer.decode, skip_special_tokens=False)
    return replace(comparison, difference=find_difference(comparison, decode))


def run_in_thread(mode: Mode, pipeline: Pipeline, request: Request, options: GenerationOptions) -> ModeRun:
    """Run once in a new thread, as the iterator mode does anyway.

    Once the main thread has OpenMP workers, the same work takes half as long again in any other thread.  So that the
    modes stay comparable, none of them generates in the main thread.
    """
    with BackgroundIterator[ModeRun](lambda signal, emit: emit(mode(pipeline, request, options, signal))) as results:
        return next(results)


def find_difference(comparison: Comparison, decode: Callable[[Sequence[int]], str]) -> Difference | None:
    """Return the first run, in the order in which they ran, that differs from the reference."""
    expected = comparison.reference
    for number in range(comparison.runs_per_mode):
        for mode in comparison.modes:
            run = mode.runs[number]
            differs = partial(Difference, mode.name, number + 1, comparison.baseline.name)
            step = first_difference(run.token_ids, expected.token_ids)
            if step is not None:
                near = slice(max(0, step - _CONTEXT), step + 3)
                return differs(
                    step=step,
                    token_id=dict(enumerate(run.token_ids)).get(step),
                    expected_id=dict(enumerate(expected.token_ids)).get(step),
                    text=decode(run.token_ids[near]),
                    expected_text=decode(expected.token_ids[near]),
                )
            place = first_difference(run.text, expected.text)
            if place is not None:
                near = slice(max(0, place - 4 * _CONTEXT), place + 2 * _CONTEXT)
                return differs(None, None, None, run.text[near], expected.text[near])
    return None


def _load_average() -> float | None:
    """Return the mean number of runnable processes in the last minute; None where the system does not report it."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
