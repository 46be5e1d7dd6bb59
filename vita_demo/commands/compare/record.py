"""The result of a comparison: its metrics, the records of its runs and the statistics over them.

Independent of torch, of the terminal and of file formats.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from statistics import median
from typing import Any

from vita_demo.answer import Answer
from vita_demo.metrics import REQUEST_STAGES, RunStats

SCHEMA_VERSION = 1
STAGES = (*REQUEST_STAGES, "other")


@dataclass(frozen=True)
class Metric:
    """One figure of ``RunStats`` as people read it.

    Attributes:
        name: its documented name, an attribute of ``RunStats``.
        label, unit: the heading of its column.
        factor: from the attribute's unit to ``unit``.
        meaning: its definition in one line.
    """

    name: str
    label: str
    unit: str
    factor: float
    meaning: str

    def write(self, value: float) -> str:
        """Write a value in ``unit`` with about three significant digits."""
        scaled = value * self.factor
        decimals = next((places for limit, places in ((100, 0), (10, 1), (1, 2)) if scaled >= limit), 3)
        return f"{scaled:,.{decimals}f}"


METRICS = (
    Metric("ttft_s", "TTFT", "ms", 1e3, "request accepted to the first token on the host"),
    Metric("ttft_text_s", "TTFT, text", "ms", 1e3, "request accepted to the first visible text"),
    Metric("tpot_s", "TPOT", "ms", 1e3, "time per output token after the first"),
    Metric("decode_tps", "decode", "tokens/s", 1, "tokens after the first ÷ (last token − first token)"),
    Metric("e2e_tps", "end to end", "tokens/s", 1, "tokens ÷ (end − request accepted)"),
    Metric("total_s", "total", "s", 1, "request accepted to the end of the answer"),
    Metric(
        "peak_memory_bytes", "peak memory", "GB", 1e-9,
        "most memory allocated on the GPU during the run; on a CPU the process's peak resident set until then",
    ),
)  # fmt: skip


def token_times_s(stats: RunStats) -> tuple[float, ...]:
    """Return when each token was on the host, in seconds after the request was accepted."""
    return () if stats.ttft_s is None else tuple(accumulate(stats.token_gaps_s, initial=stats.ttft_s))


def stages_s(stats: RunStats) -> dict[str, float]:
    """Return the seconds in each of ``STAGES``; they add up to the total time."""
    stages = stats.stages_without_overlap
    return {**stages, "other": max(0.0, stats.total_s - sum(stages.values()))}


@dataclass(frozen=True)
class Spread:
    """Statistics of one metric over the runs of one mode.

    Attributes:
        median, minimum, maximum: over the runs.
        ratio: the median ÷ the baseline mode's median; None where the latter is unknown or 0.
    """

    median: float
    minimum: float
    maximum: float
    ratio: float | None


@dataclass(frozen=True)
class ModeResult:
    """The answers of all measured runs of one mode, in the order in which they ran; the text is what it received."""

    name: str
    runs: tuple[Answer, ...]

    def values(self, metric: str) -> list[float]:
        """Return the metric of each run that has it."""
        return [value for run in self.runs if (value := getattr(run.stats, metric)) is not None]

    @property
    def typical_run(self) -> Answer:
        """The run with the median total time; of an even number the shorter of the middle two."""
        return sorted(self.runs, key=lambda run: run.stats.total_s)[(len(self.runs) - 1) // 2]

    @property
    def stages_s(self) -> dict[str, float]:
        """The median seconds of each stage."""
        return {stage: median(stages_s(run.stats)[stage] for run in self.runs) for stage in STAGES}


@dataclass(frozen=True)
class Difference:
    """Where a run first differs from the baseline's first run.

    Attributes:
        mode, run: the differing run, counted from 1.
        baseline: the mode that it is compared with.
        step: index of the token; None when the ids are equal and only the text differs.
        token_id, expected_id: the run's and the baseline's token there; None where the answer had ended.
        text, expected_text: the run's and the baseline's text around it.
    """

    mode: str
    run: int
    baseline: str
    step: int | None
    token_id: int | None
    expected_id: int | None
    text: str
    expected_text: str

    def describe(self) -> str:
        """Describe the difference in one line."""
        subject = f"{self.mode} differs from {self.baseline} in run {self.run}"
        if self.step is None:
            return (
                f"{subject}: the token ids are equal but the text is …{self.text!r} instead of …{self.expected_text!r}"
            )
        ours, theirs = ("no token" if id_ is None else f"id {id_}" for id_ in (self.token_id, self.expected_id))
        return f"{subject} at step {self.step}: {ours} in …{self.text!r} instead of {theirs} in …{self.expected_text!r}"


@dataclass(frozen=True)
class Comparison:
    """One request, answered in several modes.

    Attributes:
        request, options, model, host, versions: the conditions of the measurement, as written to JSON.
        modes: the results, in the order in which the modes ran.
        difference: the first one; None when all runs gave the same token ids and the same text.
    """

    request: Mapping[str, Any]
    options: Mapping[str, Any]
    model: Mapping[str, Any]
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    modes: tuple[ModeResult, ...]
    difference: Difference | None = None

    @property
    def baseline(self) -> ModeResult:
        """The mode that the others are compared with: blocking, or the first mode when blocking did not run."""
        return next((mode for mode in self.modes if mode.name == "blocking"), self.modes[0])

    @property
    def reference(self) -> Answer:
        """The run whose token ids and text all others must have."""
        return self.baseline.runs[0]

    @property
    def runs_per_mode(self) -> int:
        """Number of measured runs of each mode, without the warm-up."""
        return len(self.modes[0].runs)

    def spread(self, mode: ModeResult, metric: str) -> Spread | None:
        """Return the statistics of a metric over the runs of ``mode``; None when no run has it."""
        values, base = mode.values(metric), self.baseline.values(metric)
        if not values:
            return None
        ratio = median(values) / median(base) if base and median(base) else None
        return Spread(median(values), min(values), max(values), ratio)

    def cell(self, mode: ModeResult, metric: Metric) -> tuple[str, str, str]:
        """Write the spread of a metric, the same in every table: median, ratio such as "×1.02", and "0.98–1.20".

        The median is a dash when no run has the metric; the ratio is empty for the baseline; the last is empty for a
        single run, and a single number where both ends read the same.
        """
        spread = self.spread(mode, metric.name)
        if spread is None:
            return "–", "", ""
        ratio = "" if spread.ratio is None or mode is self.baseline else f"×{spread.ratio:.2f}"
        ends = dict.fromkeys(metric.write(value) for value in (spread.minimum, spread.maximum))
        if self.runs_per_mode == 1:
            ends = {}
        return metric.write(spread.median), ratio, "–".join(ends)

    @property
    def verdict(self) -> str:
        """Whether all runs are equal, in one sentence."""
        if self.difference is not None:
            return self.difference.describe()
        tokens, runs = len(self.reference.token_ids), len(self.modes) * self.runs_per_mode
        return f"all {runs} runs in {len(self.modes)} modes gave the same {tokens:,} token ids and the same text"

    @property
    def conditions(self) -> tuple[str, ...]:
        """Runs, model, machine and versions, a line each."""
        host, model, options = self.host, self.model, self.options
        sampling = f"sampled with seed {options['seed']}" if options["do_sample"] else "greedy"
        precision = f"{model['quantize']} and {model['dtype']}" if model.get("quantize") else model["dtype"]
        weights = f"{model['parameters'] / 1e6:,.1f} million parameters in {precision} on {model['device']}"
        runs = "1 run" if self.runs_per_mode == 1 else f"{self.runs_per_mode} runs"
        return (
            f"{runs} of each mode, interleaved, after one warm-up of each · {sampling}",
            f"{weights} · prompt of {self.reference.stats.prompt_positions:,} positions",
            f"{host['platform']} · {host['processor']}, {host['cores']} cores · threads: {host['threads']}",
            " · ".join(f"{name} {version}" for name, version in self.versions.items()),
        )

    @property
    def warning(self) -> str:
        """A warning, in one sentence, when the machine was busy before the runs; otherwise empty."""
        load, cores = self.host["load_average"], self.host["cores"]
        if load is None or load <= cores / 2:
            return ""
        return f"other processes kept {load:.1f} of {cores} cores busy before the runs; the times are unreliable"

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as written to JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            **vars(self),
            "baseline": self.baseline.name,
            "equal": self.difference is None,
            "difference": self.difference and asdict(self.difference),
            "modes": [self._mode_to_dict(mode) for mode in self.modes],
        }

    def _mode_to_dict(self, mode: ModeResult) -> dict[str, Any]:
        spreads = {metric.name: self.spread(mode, metric.name) for metric in METRICS}
        runs = [
            {
                "run": number,
                "token_ids": run.token_ids,
                "text": run.text,
                "token_times_s": token_times_s(run.stats),
                "metrics": run.stats.to_dict(),
            }
            for number, run in enumerate(mode.runs, 1)
        ]
        summary = {name: spread and asdict(spread) for name, spread in spreads.items()}
        return {"mode": mode.name, "summary": summary, "runs": runs}
