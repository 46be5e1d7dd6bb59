"""What a turn of the chat cost, in a line and in a table."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vita_demo.answer import Answer, Turn

_TABLE_COLUMNS = 75


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


def show_turns(turns: Sequence[Turn], width: int) -> RenderableType:
    """List the turns of a conversation and what each cost: in a table if ``width`` columns hold it."""
    if width >= _TABLE_COLUMNS:
        return _table(turns)
    parts: list[RenderableType] = []
    for number, turn in enumerate(turns, 1):
        parts += [f"{number}  {_question(turn)}", Padding(turn_line(turn.answer), (0, 0, 0, 3))]
    return Group(*parts)


def _table(turns: Sequence[Turn]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("turn", justify="right")
    table.add_column("question")
    for name in ("cached", "computed", "first\ntoken", "decode\ntokens/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finished\nby", no_wrap=True)
    for number, turn in enumerate(turns, 1):
        question = Text(_question(turn))
        question.truncate(20, overflow="ellipsis")
        table.add_row(str(number), question, *_costs(turn.answer), turn.answer.finish_reason)
    return table


def _question(turn: Turn) -> str:
    return " ".join(turn.request.question.split()) or "(spoken)"


def _costs(answer: Answer) -> tuple[str, str, str, str]:
    """Positions cached and computed, first token, decode tokens/s; dashes for what was not measured here."""
    stats = answer.stats
    if not stats.measured:
        return "–", "–", "–", "–"
    first = "–" if stats.ttft_s is None else f"{stats.ttft_s:.2f} s"
    rate = "–" if stats.decode_tps is None else f"{stats.decode_tps:,.1f}"
    return f"{answer.prompt.cached_tokens:,}", f"{stats.prompt_positions:,}", first, rate
