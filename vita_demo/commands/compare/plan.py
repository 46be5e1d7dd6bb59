"""What a comparison shall do, checked before anything is loaded, and how it is carried out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.compare.modes import MODES, comparable
from vita_demo.commands.compare.output import check_output, write
from vita_demo.commands.compare.table import print_comparison
from vita_demo.console import Console
from vita_demo.errors import ComparisonError, InputError
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request


@dataclass(frozen=True)
class Plan:
    """Which modes run how often, and the files that the result goes to."""

    modes: tuple[str, ...]
    runs: int
    outputs: tuple[Path, ...]

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
        return cls(tuple(dict.fromkeys(names)), runs, tuple(outputs))

    def carry_out(
        self, source: ModelSource, settings: Settings, request: Request, options: GenerationOptions, console: Console
    ) -> None:
        """Load the model once, compare, print the table and write the files.

        Raises:
            ComparisonError: when an answer differed.
            VitaDemoError: what loading and generating raise.
        """
        if "transformers" in self.modes:
            replace(options, engine="transformers", speculate=0).check_quantized(source.quantize)
        seeded = comparable(options)
        if seeded != options:
            console.note(f"every run samples with seed {seeded.seed}; --seed sets another")

        from vita_demo.commands.compare.run import compare
        from vita_demo.pipeline import Pipeline

        with console.stages() as stages:
            pipeline = Pipeline.of(source, settings, stages.loading)
        with console.counting("comparing", len(self.modes) * (self.runs + 1)) as advance:
            comparison = compare(pipeline, request, seeded, modes=self.modes, runs=self.runs, progress=advance)
        print_comparison(comparison)
        for path in self.outputs:
            write(comparison, path)
        if comparison.difference is not None:
            raise ComparisonError(comparison.difference.describe())
