"""The times and rates of a run, as a panel on a terminal and as plain lines elsewhere."""

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from vita_demo.answer import Answer
from vita_demo.metrics import RunStats

_BARS = "▁▂▃▄▅▆▇█"
# Readable on dark and on light backgrounds.
_STAGE_STYLES = {
    "media": "magenta",
    "vision": "blue",
    "audio": "cyan",
    "prefill": "yellow",
    "decode": "green",
    "callbacks": "red",
}


def summary_lines(answer: Answer) -> list[str]:
    """Format the summary as plain lines."""
    return [answer.stats.describe(), f"{_tokens_by_kind(answer)} tokens · {_ending(answer)}"]


def _tokens_by_kind(answer: Answer) -> str:
    """Format the prompt's positions by kind, and the answer's tokens."""
    prompt = answer.prompt
    kinds = {"text": prompt.text_tokens, "image": prompt.image_tokens, "audio": prompt.audio_tokens}
    return " + ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) + f" → {answer.stats.tokens:,}"


def _ending(answer: Answer) -> str:
    """Format why the answer ended, and how the model classified the query."""
    state = f"query judged: {answer.state} · " if answer.state else ""
    return f"{state}finished by {answer.finish_reason}"


def render(answer: Answer, width: int) -> Panel:
    """Draw the panel for a terminal of ``width`` columns."""
    inner = min(width, 110) - 4
    stats = answer.stats
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column(overflow="fold")
    if stats.ttft_s is not None:
        rows.add_row("first token", f"{stats.ttft_s:.2f} s")
    if stats.prefill_tps is not None:
        rows.add_row("prefill", f"{stats.prompt_positions:,} positions at {stats.prefill_tps:,.0f}/s")
    if stats.decode_tps is not None and stats.itl_s is not None:
        rows.add_row("decode", f"{stats.tokens:,} tokens at {stats.decode_tps:,.1f}/s")
        if stats.drafts is not None:
            rows.add_row("drafts", str(stats.drafts))
        rows.add_row("token gaps", _gaps(stats, inner - 14))
    rows.add_row("tokens", _tokens_by_kind(answer))
    if stats.peak_memory_bytes is not None:
        rows.add_row("peak memory", f"{stats.peak_memory_bytes / 1e9:.2f} GB")
    parts = Group(rows, _stage_bar(stats, inner))
    return Panel(parts, title=f"{stats.total_s:.2f} s", subtitle=_ending(answer), width=inner + 4, border_style="dim")


def _gaps(stats: RunStats, width: int) -> Text:
    itl_s = stats.itl_s or {}
    text = Text(f"p50 {itl_s['p50'] * 1e3:.2f} · p99 {itl_s['p99'] * 1e3:.2f} · max {itl_s['max'] * 1e3:.2f} ms  ")
    return text.append(sparkline(stats.token_gaps_s, max(8, width - len(text))), style="green")


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as at most ``width`` bars; each shows the maximum of a group of consecutive values."""
    count = min(width, len(values))
    edges = [len(values) * number // count for number in range(count + 1)]
    heights = [max(values[start:end]) for start, end in pairwise(edges)]
    top = max(heights)
    return "".join(_BARS[min(7, int(8 * height / top))] if top else _BARS[0] for height in heights)


def _stage_bar(stats: RunStats, width: int) -> Group:
    stages = {name: seconds for name, seconds in stats.stages_without_overlap.items() if seconds > 0}
    total = sum(stages.values())
    bar, legend = Text(), Text()
    for name, seconds in stages.items():
        bar.append("█" * round(width * seconds / total), style=_STAGE_STYLES[name])
        legend.append("■ ", style=_STAGE_STYLES[name]).append(f"{name} {seconds:.3f} s  ")
    bar.truncate(width)
    return Group(bar, legend)
