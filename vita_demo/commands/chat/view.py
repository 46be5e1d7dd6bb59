"""What a turn of the chat cost, in a line and in a table."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from vita_demo.answer import Answer, Turn


def turn_line(answer: Answer) -> str:
    """Say in one line what an answer cost."""
    stats, prompt = answer.stats, answer.prompt
    parts = (
        answer.state and f"query judged: {answer.state}",
        f"positions: {stats.prompt_positions:,} computed, {prompt.cached_tokens:,} cached",
        stats.ttft_s is not None and f"first token {stats.ttft_s:.2f} s",
        stats.decode_tps and f"decode {stats.decode_tps:,.1f} tokens/s",
        stats.drafts and f"drafts {stats.drafts}",
        f"finished by {answer.finish_reason}",
    )
    return " · ".join(part for part in parts if part)


def turns_table(turns: Sequence[Turn]) -> Table:
    """List the turns of a conversation and what each cost."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("turn", justify="right")
    # The only column that may wrap, so that a narrow terminal loses no other.
    table.add_column("question")
    for name in ("cached", "computed", "first\ntoken", "decode\ntokens/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finished\nby", no_wrap=True)
    for number, turn in enumerate(turns, 1):
        question = Text(" ".join(turn.request.question.split()) or "(spoken)")
        question.truncate(20, overflow="ellipsis")
        table.add_row(str(number), question, *_costs(turn.answer), turn.answer.finish_reason)
    return table


def _costs(answer: Answer) -> tuple[str, str, str, str]:
    """Positions cached and computed, first token, decode tokens/s; dashes for what was not measured here."""
    stats = answer.stats
    if not stats.measured:
        return "–", "–", "–", "–"
    first = "–" if stats.ttft_s is None else f"{stats.ttft_s:.2f} s"
    rate = "–" if stats.decode_tps is None else f"{stats.decode_tps:,.1f}"
    return f"{answer.prompt.cached_tokens:,}", f"{stats.prompt_positions:,}", first, rate
