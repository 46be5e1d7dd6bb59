"""What vita-demo batch does: checks input and output, loads the model, and shows how far it is."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from vita_demo.batch.batch import Answers, Batch, Progress
from vita_demo.batch.input import open_input
from vita_demo.batch.output import Output
from vita_demo.checkpoint.locate import source_notes
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.cluster.connection import check_cluster, cluster_gpus, connected
from vita_demo.cluster.pool import Pool, Share
from vita_demo.commands.interrupt import interruptible
from vita_demo.console import Console
from vita_demo.console.display import Display
from vita_demo.errors import FailedRowsError
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Sampling

_SHOW_EVERY_S, _SAY_EVERY_S = 0.2, 10.0


class ProgressLine:
    """Shows a batch's progress: a line that changes on a terminal, elsewhere one every ten seconds."""

    def __init__(self, console: Console, display: Display) -> None:
        self._console, self._display = console, display
        self._shown_s = time.monotonic() if not console.live else 0.0

    def show(self, progress: Progress) -> None:
        """Show it, unless it was shown just before."""
        now_s, live = time.monotonic(), self._console.live
        if now_s - self._shown_s >= (_SHOW_EVERY_S if live else _SAY_EVERY_S):
            self._shown_s = now_s
            (self._display.show if live else self._console.note)(progress.describe())


def run_batch(
    console: Console,
    source: ModelSource,
    settings: Settings,
    options: GenerationOptions,
    sampling: Sampling,
    flags: Mapping[str, Any],
) -> None:
    """Carry the command out; ``flags`` are its own.

    Raises:
        FailedRowsError: with ``--fail_on_error``, when a row has an error.
        KeyboardInterrupt: after Ctrl-C, once the rows that are there are written.
        VitaDemoError: see ``Batch.run``.
    """
    check_cluster(flags, "workers", ("ray", "pandas", "pyarrow"))
    rows = open_input(flags["input_"], flags["glob"])
    output = Output(flags["output"], flags["retry_errors"])
    batch = Batch(rows, flags["question"], sampling, options, flags["slots"])
    for note in source_notes(source.model_path):
        console.note(note)
    if output.done:
        console.note(f"{output.path} has {len(output.done):,} rows already, which are not done again")
    if not batch.finish(output):
        _answer(console, source, settings, batch, output, flags)
    if output.errors:
        failed = f"{output.errors:,} of {len(output.done):,} rows {'has' if output.errors == 1 else 'have'} an error"
        if flags["fail_on_error"]:
            raise FailedRowsError(f"{failed}; their column error says why, and --retry_errors does them again")
        console.warn(f"{failed}; --retry_errors does them again")


def _answer(
    console: Console, source: ModelSource, settings: Settings, batch: Batch, output: Output, flags: Mapping[str, Any]
) -> None:
    with console.display() as display, ExitStack() as stack:
        if flags["ray"]:
            answers = _on_cluster(source, settings, flags, display, stack)
        else:
            answers = _here(source, settings, display)
        display.stage("reading the first files")
        with interruptible() as signal:
            progress = batch.run(answers, output, signal, ProgressLine(console, display).show)
    if signal.reason is not None:
        console.warn(f"stopped with {len(output.done):,} rows in {output.path}; the same command goes on from there")
        raise KeyboardInterrupt
    console.note(f"{output.path}: {progress.describe().removesuffix(' · 0:00 left')} in {progress.seconds:,.1f} s")


def _here(source: ModelSource, settings: Settings, display: Display) -> Answers:
    display.stage("importing torch")
    from vita_demo.pipeline import Pipeline

    return Pipeline.of(source, settings, display.loading)


def _on_cluster(
    source: ModelSource, settings: Settings, flags: Mapping[str, Any], display: Display, stack: ExitStack
) -> Answers:
    """Connect to a cluster for as long as ``stack`` lasts."""
    display.stage("connecting to Ray")
    from vita_demo.cluster.answers import ClusterAnswers

    stack.enter_context(connected(flags["ray"]))
    share = Share.of(source, cluster_gpus())
    return ClusterAnswers(source, settings.config, Pool.parse(flags["workers"] or "1:", "--workers"), share)
