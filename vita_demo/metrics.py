"""The times and rates of a run: their definitions and the recorder.  Knows no torch, no terminal and no model.

t₀ is the moment when the request is accepted, with the model loaded and the media not yet read; media that were read
while the model was loading count as if they had been read after t₀.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import quantiles
from typing import Any, Self

SCHEMA_VERSION = 1
REQUEST_STAGES = ("media", "vision", "audio", "prefill", "decode", "callbacks")


@dataclass
class Drafts:
    """Counts of drafted tokens.

    Attributes:
        proposed: drafted tokens.
        accepted: drafted tokens that became part of the answer without a pass of their own through the model.
    """

    proposed: int = 0
    accepted: int = 0

    def __str__(self) -> str:
        return f"{self.accepted:,} of {self.proposed:,} accepted"


@dataclass(frozen=True)
class RunStats:
    """Times of one run, in seconds, and the rates that follow from them.

    Attributes:
        stages: seconds spent in load, media, vision, audio, prefill, decode and callbacks.
        prompt_positions: language-model positions of the prompt: text, image and audio.
        tokens: tokens of the answer, including the stop token.
        ttft_s: t₀ to the first token on the host.
        ttft_model_s: start of encoding to the first token on the host.
        ttft_text_s: t₀ to the first visible text; None without any.
        total_s: t₀ to the end of the answer.
        token_gaps_s: time between successive tokens.
        peak_memory_bytes: CUDA: most memory allocated since the request began; CPU: peak resident set.
        bandwidth_fraction: bytes read per token × decode_tps ÷ measured copy bandwidth; None if not measured.
        drafts: counts of drafted tokens; None without speculation.
    """

    stages: Mapping[str, float] = field(default_factory=dict)
    prompt_positions: int = 0
    tokens: int = 0
    ttft_s: float | None = None
    ttft_model_s: float | None = None
    ttft_text_s: float | None = None
    total_s: float = 0.0
    token_gaps_s: Sequence[float] = ()
    peak_memory_bytes: int | None = None
    bandwidth_fraction: float | None = None
    drafts: Drafts | None = None

    @property
    def stages_without_overlap(self) -> dict[str, float]:
        """Seconds in each of ``REQUEST_STAGES``, as a sum: callbacks run between tokens, so decode excludes them.

        Loading precedes the request, so it is left out.
        """
        stages = {name: self.stages.get(name, 0.0) for name in REQUEST_STAGES}
        return {**stages, "decode": max(0.0, stages["decode"] - stages["callbacks"])}

    @property
    def measured(self) -> bool:
        """Whether there was a run; False for ``RunStats()``, which an answer loaded from a file has."""
        return self.total_s > 0

    @property
    def decode_s(self) -> float:
        """First token to last token."""
        return sum(self.token_gaps_s)

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first; None for fewer than two tokens."""
        return self.decode_s / len(self.token_gaps_s) if self.token_gaps_s else None

    @property
    def decode_tps(self) -> float | None:
        """(n - 1) ÷ (last token - first token); None for fewer than two tokens."""
        return len(self.token_gaps_s) / self.decode_s if self.decode_s else None

    @property
    def passes_tps(self) -> float | None:
        """Passes through the model per second while decoding: decode_tps, but tokens of one pass count once."""
        if self.decode_tps is None or self.drafts is None:
            return self.decode_tps
        return self.decode_tps * (1 - self.drafts.accepted / len(self.token_gaps_s))

    @property
    def prefill_tps(self) -> float | None:
        """Prompt positions ÷ prefill time."""
        prefill_s = self.stages.get("prefill")
        return self.prompt_positions / prefill_s if prefill_s else None

    @property
    def e2e_tps(self) -> float | None:
        """N ÷ (end - t₀)."""
        return self.tokens / self.total_s if self.total_s else None

    @property
    def itl_s(self) -> dict[str, float] | None:
        """Inter-token latency: 50th, 90th and 99th percentile and maximum."""
        gaps = self.token_gaps_s
        if not gaps:
            return None
        cuts = quantiles(gaps, n=100, method="inclusive") if len(gaps) > 1 else [gaps[0]] * 99
        return {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(gaps)}

    def describe(self) -> str:
        """Format the main figures in one line."""
        parts = [
            self.ttft_s is not None and f"first token {self.ttft_s:.2f} s",
            self.prefill_tps and f"prefill {self.prompt_positions:,} positions at {self.prefill_tps:,.0f}/s",
            self.decode_tps and f"decode {self.tokens:,} tokens at {self.decode_tps:,.1f}/s",
            self.drafts and f"drafts {self.drafts}",
            self.itl_s and f"between tokens {self.itl_s['p50'] * 1e3:.2f} ms (p99 {self.itl_s['p99'] * 1e3:.2f} ms)",
            f"total {self.total_s:.2f} s",
        ]
        return " · ".join(part for part in parts if part)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` returned, after JSON."""
        drafts = content["drafts"]
        return cls(**{**content, "drafts": None if drafts is None else Drafts(**drafts)})

    def to_dict(self) -> dict[str, Any]:
        """Return all figures under their documented names, as JSON values."""
        names = ("ttft_s", "ttft_model_s", "ttft_text_s", "tpot_s", "itl_s", "prefill_tps", "decode_tps", "e2e_tps",
                 "total_s", "peak_memory_bytes", "bandwidth_fraction")  # fmt: skip
        drafts = {} if self.drafts is None else {"drafts": asdict(self.drafts)}
        return {**{name: getattr(self, name) for name in names}, "stages": dict(self.stages), **drafts}


class RunRecorder:
    """Collects the times of one run.

    Args:
        clock: monotonic seconds.
        synchronize: waits for the device, so that a stage ends when its work does.
        peak_memory_bytes: returns the peak memory; called once at the end.
        on_stage: called with the name of each stage when it begins.
        tokens_timed: False if all tokens arrive at once, so that rates cannot be derived from their times.
        drafts: counts of drafted tokens; None without speculation.

    Attributes:
        stages: seconds by stage.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        synchronize: Callable[[], None] = lambda: None,
        peak_memory_bytes: Callable[[], int | None] = lambda: None,
        on_stage: Callable[[str], None] = lambda _: None,
        tokens_timed: bool = True,
        drafts: Drafts | None = None,
    ) -> None:
        self.clock = clock
        self.drafts = drafts
        self.stages: dict[str, float] = {}
        self._tokens_timed = tokens_timed
        self._synchronize = synchronize
        self._peak_memory_bytes = peak_memory_bytes
        self._on_stage = on_stage
        self._t0 = clock()
        self._model_start: float | None = None
        self._prefill_start: float | None = None
        self._token_times: list[float] = []
        self._first_text: float | None = None

    def add_stage(self, stage: str, seconds: float, since_t0: bool = False) -> None:
        """Add a stage that ran earlier; with ``since_t0``, t₀ moves back by its seconds."""
        self.stages[stage] = seconds
        if since_t0:
            self._t0 -= seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the ``with`` block as a stage."""
        self._on_stage(name)
        start = self.clock()
        yield
        self._synchronize()
        self.stages[name] = self.stages.get(name, 0.0) + self.clock() - start

    def begin_model(self) -> None:
        """Mark the start of encoding."""
        self._model_start = self.clock()

    def begin_prefill(self) -> None:
        """Mark the start of prefill, which ends with the first token."""
        self._on_stage("prefill")
        self._prefill_start = self.clock()

    def token(self, time_s: float, has_text: bool) -> None:
        """Record one token, which reached the host at ``time_s``."""
        self._token_times.append(time_s)
        if has_text and self._first_text is None:
            self._first_text = time_s

    def finish(self, prompt_positions: int, end: float) -> RunStats:
        """Return the statistics; ``end`` is the clock at the end of the answer."""
        times = self._token_times
        gaps = [later - earlier for earlier, later in pairwise(times)] if self._tokens_timed else []
        first = times[0] if times else None
        if first is not None and self._prefill_start is not None:
            prefill = first - self._prefill_start
            self.stages |= {"prefill": prefill, "decode": sum(gaps)} if self._tokens_timed else {"decode": prefill}
        return RunStats(
            stages=self.stages,
            prompt_positions=prompt_positions,
            tokens=len(times),
            ttft_s=_difference(first, self._t0),
            ttft_model_s=_difference(first, self._model_start),
            ttft_text_s=_difference(self._first_text, self._t0),
            total_s=end - self._t0,
            token_gaps_s=gaps,
            peak_memory_bytes=self._peak_memory_bytes(),
            drafts=self.drafts,
        )


def _difference(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier
