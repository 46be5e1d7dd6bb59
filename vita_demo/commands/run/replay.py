"""Repeats a saved run and compares."""

from pathlib import Path

from vita_demo.commands.run.saved_run import SavedRun
from vita_demo.errors import GenerationError
from vita_demo.pipeline import Pipeline


def replay(folder: Path) -> str:
    """Generate again what ``--save_run`` kept, and return one line that says that the token ids are the same.

    Raises:
        InputError: when the folder holds no run.
        GenerationError: when the token ids differ; its message says where first.
    """
    saved = SavedRun.load(folder)
    pipeline = Pipeline.of(saved.source)
    before = tuple(saved.report["token_ids"])
    after = pipeline.generate(saved.request, saved.options).token_ids
    # An interrupted run kept only a beginning.
    if saved.report["finish_reason"] in ("cancelled", "timeout"):
        after = after[: len(before)]
    if after != before:
        raise GenerationError(first_difference(before, after))
    return f"the same {len(before):,} tokens again"


def first_difference(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """Say at which token two answers part."""
    step = next((i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), None)
    if step is None:
        return (
            f"the saved answer has {len(before):,} tokens and the new one {len(after):,}; up to there they are the same"
        )
    return (
        f"the answers part at token {step}: id {before[step]} was saved, {after[step]} came; see the saved run's host"
    )
