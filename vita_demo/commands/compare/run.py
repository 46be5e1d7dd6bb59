"""Runs a comparison: a warm-up of each mode, then the modes in turn, and a look whether they agree."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import vita_demo
from vita_demo.commands.compare.modes import MODES, Mode, comparable
from vita_demo.commands.compare.record import Comparison, Difference, ModeResult, ModeRun
from vita_demo.commands.report import describe_host, describe_model
from vita_demo.generation.background import BackgroundIterator
from vita_demo.generation.options import GenerationOptions
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request

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
    """Answer ``request`` in each of ``modes``, once as a warm-up that is discarded and then ``runs`` times in turn.

    Args:
        pipeline: the loaded model.
        request: what to answer.
        options: how to generate.
        modes: names of ``MODES``.
        runs: measured runs of each mode.
        progress: called with the name of the mode before each run.

    Raises:
        ConfigError: when the options allow no comparison; see ``comparable``.
        VitaDemoError: what ``Pipeline.stream`` raises.
    """
    options = comparable(options)
    host = {**describe_host(pipeline), "load_average": _load_average()}
    kept: dict[str, list[ModeRun]] = {name: [] for name in modes}
    for number in range(runs + 1):
        for name in modes:
            progress(name)
            run = run_alone(MODES[name], pipeline, request, options)
            if number:
                kept[name].append(run)
    comparison = Comparison(
        request={name: _plain(value) for name, value in asdict(request).items()},
        options=asdict(options),
        model=describe_model(pipeline),
        host=host,
        versions=_versions(),
        modes=tuple(ModeResult(name, tuple(kept[name])) for name in modes),
    )
    decode = partial(pipeline.tokenizer.decode, skip_special_tokens=False)
    return replace(comparison, difference=first_difference(comparison, decode))


def run_alone(mode: Mode, pipeline: Pipeline, request: Request, options: GenerationOptions) -> ModeRun:
    """Run once in a new thread, as the iterator does in any case.

    Once the main thread has OpenMP workers, the same work in any other thread takes half as long again; so no mode
    generates in the main thread.
    """
    with BackgroundIterator[ModeRun](lambda signal, emit: emit(mode(pipeline, request, options, signal))) as results:
        return next(results)


def first_difference(comparison: Comparison, decode: Callable[[Sequence[int]], str]) -> Difference | None:
    """Find the first run, in the order in which they ran, that is not equal to the reference."""
    for number in range(comparison.runs_per_mode):
        for mode in comparison.modes:
            run, expected = mode.runs[number], comparison.reference
            if run.token_ids != expected.token_ids or run.text != expected.text:
                facts = _where(run, expected, decode)
                return Difference(mode.name, number + 1, comparison.baseline.name, *facts)
    return None


def _where(
    run: ModeRun, expected: ModeRun, decode: Callable[[Sequence[int]], str]
) -> tuple[int | None, int | None, int | None, str, str]:
    """Return step, both ids, and both texts around the place."""
    for step, (ours, theirs) in enumerate(zip_longest(run.token_ids, expected.token_ids)):
        if ours != theirs:
            around = slice(max(0, step - _CONTEXT), step + 3)
            return step, ours, theirs, decode(run.token_ids[around]), decode(expected.token_ids[around])
    pairs = enumerate(zip_longest(run.text, expected.text))
    place = next(index for index, (ours, theirs) in pairs if ours != theirs)
    around = slice(max(0, place - 4 * _CONTEXT), place + 2 * _CONTEXT)
    return None, None, None, run.text[around], expected.text[around]


def _plain(value: Any) -> Any:
    """Turn paths into text, for JSON."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _load_average() -> float | None:
    """Return how many processes wanted to run in the last minute, where the system tells."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "tokenizers", "numpy")
    return {"vita-demo": vita_demo.__version__, **{name: version(name) for name in names}}
