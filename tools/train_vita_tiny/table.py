"""The examination's results as tables."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from tools.train_vita_tiny.evaluation import Result


def show(results: Sequence[Result], mistakes: bool) -> None:
    """Print one row a kind of question, one row an exam, and the mistakes if asked for."""
    console = Console()
    console.print(_kinds(results))
    console.print(_summary(results))
    for result in results if mistakes else ():
        for trial in result.trials:
            if not (trial.right and trial.state_right):
                console.print(f"{result.exam.name}, {trial.kind}: {trial.answer} instead of {trial.expected}")


_COLUMNS = ("exam", "questions", "right", "aim", "state token right")


def _rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Sum up each exam, and the state tokens of all."""
    rows: list[tuple[str, ...]] = []
    for result in results:
        exam, count = result.exam, len(result.trials)
        rows.append((exam.name, f"{count}", f"{result.share:.1%}", f"{exam.goal:.0%}", f"{result.state_share:.1%}"))
    states = [trial.state_right for result in results for trial in result.trials]
    return [*rows, ("all", f"{len(states)}", "", "97%", f"{np.mean(states):.1%}")]


def _summary(results: Sequence[Result]) -> Table:
    table = Table(title="vita-tiny on what it was not trained on")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "exam" else "right")
    for row in _rows(results):
        table.add_row(*row)
    return table


def _kinds(results: Sequence[Result]) -> Table:
    table = Table(title="by kind of question")
    for name in ("exam", "kind", "questions", "right"):
        table.add_column(name, justify="left" if name in ("exam", "kind") else "right")
    for result in results:
        for kind, (count, share) in result.by_kind().items():
            table.add_row(result.exam.name, kind, f"{count}", f"{share:.1%}")
        table.add_section()
    return table


def markdown(results: Sequence[Result]) -> str:
    """Write the results as the model card has them."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *_rows(results)]
    lines = [*(f"| {' | '.join(row)} |" for row in rows), "", "By kind of question:", ""]
    for result in results:
        kinds = ", ".join(f"{kind} {share:.0%} of {count}" for kind, (count, share) in result.by_kind().items())
        lines.append(f"- {result.exam.name}: {kinds}.")
    return "\n".join(lines)
