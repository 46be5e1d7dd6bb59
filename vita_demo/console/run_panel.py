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
_SPARKLINE_CELLS = 8
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
    stats, ending = answer.stats, _ending(answer)
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
        rows.add_row("token gaps", _gaps(stats, inner - 13))
    rows.add_row("tokens", _tokens_by_kind(answer))
    if stats.peak_memory_bytes is not None:
        rows.add_row("peak memory", f"{stats.peak_memory_bytes / 1e9:.2f} GB")
    fits = len(ending) <= inner - 2
    if not fits:
        rows.add_row("end", ending)
    parts = Group(rows, *_stage_bar(stats, inner))
    subtitle = ending if fits else None
    return Panel(parts, title=f"{stats.total_s:.2f} s", subtitle=subtitle, width=inner + 4, border_style="dim")


def _gaps(stats: RunStats, width: int) -> Text:
    """Say how far apart the tokens came, and draw it where there is room in ``width`` cells."""
    itl_s = stats.itl_s or {}
    text = Text(" · ".join(f"{name} {itl_s[name] * 1e3:.2f}" for name in ("p50", "p99", "max")) + " ms")
    room = width - len(text) - 2
    return text if room < _SPARKLINE_CELLS else text.append(f"  {sparkline(stats.token_gaps_s, room)}", "green")


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as at most ``width`` bars; each shows the maximum of a group of consecutive values."""
    count = min(width, len(values))
    edges = [len(values) * number // count for number in range(count + 1)]
    heights = [max(values[start:end]) for start, end in pairwise(edges)]
    top = max(heights)
    return "".join(_BARS[min(7, int(8 * height / top))] if top else _BARS[0] for height in heights)


def _stage_bar(stats: RunStats, width: int) -> list[Text]:
    """Draw the stages to scale, and below their names and times, of which none is broken."""
    stages = {name: seconds for name, seconds in stats.stages_without_overlap.items() if seconds > 0}
    total = sum(stages.values())
    lines = [Text(), Text()]
    for name, seconds in stages.items():
        style = _STAGE_STYLES[name]
        lines[0].append("█" * round(width * seconds / total), style)
        entry = Text.assemble(("■", style), f" {name} {seconds:.3f} s")
        if lines[-1] and len(lines[-1]) + 2 + len(entry) > width:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append_text(entry)
    lines[0].truncate(width)
    return lines
