"""The metrics of a comparison and how they are written."""

from dataclasses import dataclass


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
