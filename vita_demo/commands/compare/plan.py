"""What a comparison shall do, checked before anything is loaded, and how it is carried out.

Each mode runs once as a warm-up, then the modes take turns, and at the end all answers must be equal.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Self

import vita_demo
from vita_demo.answer import Answer
from vita_demo.checkpoint.locate import source_notes
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.compare.modes import MODES, Mode
from vita_demo.commands.compare.output import check_output, write
from vita_demo.commands.compare.record import Comparison, Difference, ModeResult
from vita_demo.commands.compare.table import print_comparison
from vita_demo.commands.difference import first_difference
from vita_demo.console import Console
from vita_demo.errors import ComparisonError, ConfigError, InputError
from vita_demo.generation.background import BackgroundIterator
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.pipeline import Pipeline

DEFAULT_SEED = 0
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
# Tokens before a difference that its text shows.
_CONTEXT = 6


@dataclass(frozen=True)
class Plan:
    """Which modes run how often, after a warm-up of each, and the files that the result goes to.

    Attributes:
        modes: names, the baseline first where it is among them.
        runs: measured runs of each mode.
        outputs: files to write.
        chosen: whether the user named the modes.
    """

    modes: tuple[str, ...] = tuple(MODES)
    runs: int = 5
    outputs: tuple[Path, ...] = ()
    chosen: bool = False

    @classmethod
    def of(cls, modes: str | None, runs: int, outputs: Sequence[Path], quantize: str | None) -> Self:
        """Validate the flags of a comparison.

        Args:
            modes: names between commas; None takes all that quantized weights can run.
            runs: measured runs of each mode.
            outputs: files to write.
            quantize: the format of the weights.

        Raises:
            InputError: when a mode is unknown, there is no run, or an output cannot be written.
        """
        able = [name for name in MODES if quantize is None or name != "transformers"]
        names = able if modes is None else [name.strip() for name in modes.split(",")]
        for name in names:
            if name not in MODES:
                raise InputError(f"--modes {name!r} is unknown; give some of {','.join(MODES)}")
        if runs < 1:
            raise InputError(f"--runs {runs} must be at least 1; 5 is the default")
        for path in outputs:
            check_output(path)
        return cls(tuple(dict.fromkeys(names)), runs, tuple(outputs), chosen=modes is not None)

    def carry_out(
        self, source: ModelSource, settings: Settings, request: Request, options: GenerationOptions, console: Console
    ) -> None:
        """Load the model once, compare, print the table and write the files.

        Raises:
            ConfigError: when the options end runs at different tokens or cannot stream.
            ComparisonError: when an answer differed.
            VitaDemoError: what loading and generating raise.
        """
        _check_options(options)
        if "transformers" in self.modes:
            replace(options, engine="transformers", speculate=0).check_quantized(source.quantize)
        if options.do_sample and options.seed is None:
            options = replace(options, seed=DEFAULT_SEED)
            console.note(f"every run samples with seed {DEFAULT_SEED}; --seed sets another")

        for note in source_notes(source.model_path, len(request.image_paths)):
            console.note(note)
        from vita_demo.pipeline import Pipeline

        with console.display() as display:
            pipeline = Pipeline.of(source, settings, display.loading)
        plan = self if self.chosen else self._without_inexact(pipeline, options, console)
        with console.counting("comparing", len(plan.modes) * (self.runs + 1)) as advance:
            comparison = plan.compare(pipeline, request, options, advance)
        print_comparison(comparison)
        for path in self.outputs:
            write(comparison, path)
        if comparison.difference is not None:
            raise ComparisonError(comparison.difference.describe())

    def _without_inexact(self, pipeline: "Pipeline", options: GenerationOptions, console: Console) -> Self:
        """Leave ``together`` out where its answers may differ from the others by rounding, or cannot be made."""
        exact = pipeline.source.dtype == "float32" and pipeline.source.quantize is None
        if exact and not options.uses_transformers:
            return self
        why = "the options need transformers' engine" if exact else "its answers are equal only in float32"
        console.note(f"the mode together is left out: {why}; --modes names it")
        return replace(self, modes=tuple(name for name in self.modes if name != "together"))

    def compare(
        self,
        pipeline: "Pipeline",
        request: Request,
        options: GenerationOptions,
        progress: Callable[[str], object] = lambda _mode: None,
    ) -> Comparison:
        """Answer ``request`` in each mode; ``progress`` is called with the name of the mode before each run.

        Raises:
            VitaDemoError: see ``Pipeline.stream``.
        """
        from vita_demo.commands.report import describe_host, describe_model

        host = {**describe_host(pipeline), "load_average": None}
        with suppress(AttributeError, OSError):  # where the system does not report it
            host["load_average"] = os.getloadavg()[0]
        measured: dict[str, list[Answer]] = {name: [] for name in self.modes}
        for _, name in product(range(self.runs + 1), self.modes):
            progress(name)
            measured[name].append(_run_in_thread(MODES[name], pipeline, request, options))
        comparison = Comparison(
            request=request.to_json(),
            options=asdict(options),
            model=describe_model(pipeline),
            host=host,
            versions={"vita-demo": vita_demo.__version__, **{name: version(name) for name in _PACKAGES}},
            modes=tuple(ModeResult(name, tuple(runs[1:])) for name, runs in measured.items()),
        )
        decode = partial(pipeline.tokenizer.decode, skip_special_tokens=False)
        return replace(comparison, difference=find_difference(comparison, decode))


def _check_options(options: GenerationOptions) -> None:
    if options.num_beams > 1:
        raise ConfigError(f"--num_beams {options.num_beams} cannot be compared: beams cannot stream; leave it out")
    if options.time_limit_s is not None:
        raise ConfigError(
            f"--time_limit_s {options.time_limit_s:g} ends each run at another token; give --max_new_tokens instead"
        )


def _run_in_thread(mode: Mode, pipeline: "Pipeline", request: Request, options: GenerationOptions) -> Answer:
    """Run once in a new thread, as the iterator mode does anyway.

    Once the main thread has OpenMP workers, the same work takes half as long again in any other thread.  So that the
    modes stay comparable, none of them generates in the main thread.
    """
    with BackgroundIterator[Answer](lambda signal, emit: emit(mode(pipeline, request, options, signal))) as results:
        return next(results)


def find_difference(comparison: Comparison, decode: Callable[[Sequence[int]], str]) -> Difference | None:
    """Return the first run, in the order in which they ran, that differs from the reference."""
    expected = comparison.reference
    for number, mode in product(range(comparison.runs_per_mode), comparison.modes):
        run, where = mode.runs[number], (mode.name, number + 1, comparison.baseline.name)
        step = first_difference(run.token_ids, expected.token_ids)
        if step is not None:
            near = slice(max(0, step - _CONTEXT), step + 3)
            token_id, expected_id = (next(iter(answer.token_ids[step:]), None) for answer in (run, expected))
            texts = decode(run.token_ids[near]), decode(expected.token_ids[near])
            return Difference(*where, step, token_id, expected_id, *texts)
        place = first_difference(run.text, expected.text)
        if place is not None:
            near = slice(max(0, place - 4 * _CONTEXT), place + 2 * _CONTEXT)
            return Difference(*where, None, None, None, run.text[near], expected.text[near])
    return None
