"""What a comparison found: plain records of runs, and the statistics that follow from them.

Knows no torch, no terminal and no file format.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate, chain
from statistics import median
from typing import Any

from vita_demo.commands.compare.metric import METRICS
from vita_demo.metrics import RunStats

SCHEMA_VERSION = 1
STAGES = ("media", "vision", "audio", "prefill", "decode", "callbacks", "other")


@dataclass(frozen=True)
class ModeRun:
    """One run.

    Attributes:
        token_ids: all generated ids.
        text: the text as this mode's reader got it.
        stats: times and rates.
    """

    token_ids: tuple[int, ...]
    text: str
    stats: RunStats

    @property
    def token_times_s(self) -> tuple[float, ...]:
        """When each token was on the host, in seconds after the request was accepted."""
        first = self.stats.ttft_s
        return () if first is None else tuple(accumulate(self.stats.token_gaps_s, initial=first))

    @property
    def stages_s(self) -> dict[str, float]:
        """Seconds of the total by stage, without overlap.

        Callbacks run between tokens, so their time is taken out of decode; loading came before the request.
        """
        known = {name: self.stats.stages.get(name, 0.0) for name in STAGES}
        known["decode"] = max(0.0, known["decode"] - known["callbacks"])
        known["other"] = max(0.0, self.stats.total_s - sum(known.values()))
        return known


@dataclass(frozen=True)
class Spread:
    """A metric over the runs of one mode.

    Attributes:
        median, minimum, maximum: of the runs.
        ratio: the median ÷ the baseline mode's median; None where that is unknown or 0.
    """

    median: float
    minimum: float
    maximum: float
    ratio: float | None


@dataclass(frozen=True)
class ModeResult:
    """All measured runs of one mode, in their order."""

    name: str
    runs: tuple[ModeRun, ...]

    def values(self, metric: str) -> list[float]:
        """Return the metric of each run that has it."""
        return [value for run in self.runs if (value := getattr(run.stats, metric)) is not None]

    @property
    def typical_run(self) -> ModeRun:
        """The run with the median total time; of an even number the shorter of the middle two."""
        return sorted(self.runs, key=lambda run: run.stats.total_s)[(len(self.runs) - 1) // 2]

    @property
    def token_gaps_s(self) -> list[float]:
        """The gaps between tokens of all runs."""
        return list(chain.from_iterable(run.stats.token_gaps_s for run in self.runs))

    @property
    def stages_s(self) -> dict[str, float]:
        """The median seconds of each stage."""
        return {stage: median(run.stages_s[stage] for run in self.runs) for stage in STAGES}


@dataclass(frozen=True)
class Difference:
    """Where a run first departed from the baseline's first run.

    Attributes:
        mode, run: which run, counted from 1.
        baseline: the mode that it is held against.
        step: number of the token, from 0; None when the ids agree and only the text differs.
        token_id, expected_id: the run's and the baseline's; None where the answer had ended.
        text, expected_text: what the run and the baseline wrote there.
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
        """Say it in one line."""
        told = f"{self.mode} differs from {self.baseline} in run {self.run}"
        if self.step is None:
            return f"{told}: the token ids agree but the text is …{self.text!r} instead of …{self.expected_text!r}"
        ours, theirs = ("no token" if id_ is None else f"id {id_}" for id_ in (self.token_id, self.expected_id))
        return f"{told} at step {self.step}: {ours} in …{self.text!r} instead of {theirs} in …{self.expected_text!r}"


@dataclass(frozen=True)
class Comparison:
    """One request, answered in several modes.

    Attributes:
        request, options, model, host, versions: what was asked of what and where, ready for JSON.
        modes: the results, in the order in which they ran.
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
        """What the others are held against: the blocking mode, or the first one when that did not run."""
        return next((mode for mode in self.modes if mode.name == "blocking"), self.modes[0])

    @property
    def reference(self) -> ModeRun:
        """The run that all others must equal."""
        return self.baseline.runs[0]

    @property
    def runs_per_mode(self) -> int:
        """How often each mode ran, the warm-up not counted."""
        return len(self.modes[0].runs)

    def spread(self, mode: ModeResult, metric: str) -> Spread | None:
        """Sum up a metric over the runs of ``mode``; None when no run has it."""
        values, base = mode.values(metric), self.baseline.values(metric)
        if not values:
            return None
        ratio = median(values) / median(base) if base and median(base) else None
        return Spread(median(values), min(values), max(values), ratio)

    @property
    def verdict(self) -> str:
        """Whether the runs agree, in one sentence."""
        if self.difference is not None:
            return self.difference.describe()
        tokens, runs = len(self.reference.token_ids), len(self.modes) * self.runs_per_mode
        return f"all {runs} runs in {len(self.modes)} modes gave the same {tokens:,} token ids and the same text"

    @property
    def sampling(self) -> str:
        """How tokens were chosen."""
        return f"drawn with seed {self.options['seed']}" if self.options["do_sample"] else "greedy"

    @property
    def circumstances(self) -> tuple[str, ...]:
        """Where and how it ran, a line each."""
        host, model = self.host, self.model
        precision = f"{model['quantize']} and {model['dtype']}" if model.get("quantize") else model["dtype"]
        weights = f"{model['parameters'] / 1e6:,.1f} million parameters in {precision} on {model['device']}"
        return (
            f"{self.runs_per_mode} runs of each mode, interleaved, after a discarded warm-up of each · {self.sampling}",
            f"{weights} · prompt of {self.reference.stats.prompt_positions:,} positions",
            f"{host['platform']} · {host['processor']}, {host['cores']} cores · threads: {host['threads']}",
            " · ".join(f"{name} {version}" for name, version in self.versions.items()),
        )

    @property
    def disturbance(self) -> str:
        """What made the times unreliable, in one sentence; empty when nothing is known of."""
        load, cores = self.host["load_average"], self.host["cores"]
        if load is None or load <= cores / 2:
            return ""
        return f"other work kept {load:.1f} of {cores} cores busy before the runs, so the times are not to be trusted"

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "request": dict(self.request),
            "options": dict(self.options),
            "model": dict(self.model),
            "host": dict(self.host),
            "versions": dict(self.versions),
            "baseline": self.baseline.name,
            "equal": self.difference is None,
            "difference": None if self.difference is None else asdict(self.difference),
            "modes": [self._mode_to_dict(mode) for mode in self.modes],
        }

    def _mode_to_dict(self, mode: ModeResult) -> dict[str, Any]:
        spreads = {metric.name: self.spread(mode, metric.name) for metric in METRICS}
        runs = [
            {
                "run": number,
                "token_ids": list(run.token_ids),
                "text": run.text,
                "token_times_s": list(run.token_times_s),
                "metrics": run.stats.to_dict(),
            }
            for number, run in enumerate(mode.runs, 1)
        ]
        return {
            "mode": mode.name,
            "summary": {name: None if spread is None else asdict(spread) for name, spread in spreads.items()},
            "runs": runs,
        }
