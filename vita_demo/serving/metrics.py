"""The figures for Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from vita_demo.answer import Answer

_ENDPOINTS = (
    "/v1/chat/completions", "/v1/responses", "/v1/models", "/ask", "/generate", "/health", "/ready", "/metrics",
)  # fmt: skip
_TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)
_GAP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_WHOLE_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300)


class ServerMetrics:
    """Counters, gauges and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # they double the page and tell when a label was first seen
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "vita_demo_requests", "Requests by endpoint and status.", ["endpoint", "status"], registry=self._registry
        )
        self._prompt = Counter(
            "vita_demo_prompt_tokens", "Positions of prompts by kind.", ["kind"], registry=self._registry
        )
        self._cached = Counter(
            "vita_demo_cached_tokens", "Positions of prompts that caches had already.", registry=self._registry
        )
        self._generated = Counter("vita_demo_generated_tokens", "Tokens of answers.", registry=self._registry)
        self._endings = Counter("vita_demo_answers", "Answers by finish reason.", ["reason"], registry=self._registry)
        self._ttft = self._histogram("time_to_first_token", "Request accepted to first token.", _TTFT_S)
        self._gaps = self._histogram("inter_token", "Time between tokens.", _GAP_S)
        self._queued = self._histogram("queue", "Time in the queue.", _TTFT_S)
        self._whole = self._histogram("answer", "Request accepted to end of answer.", _WHOLE_S)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"vita_demo_{name}_seconds", text, buckets=buckets, registry=self._registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value as it is when it is asked for."""
        Gauge(f"vita_demo_{name}", text, registry=self._registry).set_function(value)

    def count_request(self, path: str, status: int) -> None:
        """Count a request under its endpoint; paths that nobody serves are one."""
        endpoint = next(
            (endpoint for endpoint in _ENDPOINTS if path == endpoint or path.startswith(f"{endpoint}/")), None
        )
        self._requests.labels(endpoint or ("/" if path == "/" else "other"), str(status)).inc()

    def count_answer(self, answer: Answer) -> None:
        """Count an answer that has ended."""
        prompt, stats = answer.prompt, answer.stats
        for kind in ("text", "image", "audio"):
            self._prompt.labels(kind).inc(getattr(prompt, f"{kind}_tokens"))
        self._cached.inc(prompt.cached_tokens)
        self._generated.inc(len(answer.token_ids))
        self._endings.labels(answer.finish_reason).inc()
        self._queued.observe(stats.stages.get("queued", 0.0))
        self._whole.observe(stats.total_s)
        if stats.ttft_s is not None:
            self._ttft.observe(stats.ttft_s)
        for gap_s in stats.token_gaps_s:
            self._gaps.observe(gap_s)

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self._registry)
