"""Repeats a saved run and compares."""

from vita_demo.commands.difference import first_difference
from vita_demo.commands.run.saved_run import SavedRun
from vita_demo.errors import GenerationError
from vita_demo.model.ops.cpu_profile import CpuProfile, use_cpu_profile
from vita_demo.pipeline import Pipeline


def replay(saved: SavedRun) -> str:
    """Generate again what ``--save_run`` kept, and return one line that says that the token ids are the same.

    The run's device, dtype, threads and CPU profile are used again, so that it rounds as before.

    Raises:
        GenerationError: when the token ids differ; its message says where first.
    """
    use_cpu_profile(CpuProfile.from_dict(saved.report["host"]["cpu_profile"]))
    try:
        after = Pipeline.of(saved.source).generate(saved.request, saved.options).token_ids
    finally:
        use_cpu_profile(None)
    before = tuple(saved.report["token_ids"])
    # An interrupted run kept only a beginning.
    if saved.report["finish_reason"] in ("cancelled", "timeout"):
        after = after[: len(before)]
    step = first_difference(before, after)
    if step is None:
        return f"the same {len(before):,} tokens again"
    if step in (len(before), len(after)):
        raise GenerationError(
            f"the saved answer has {len(before):,} tokens and the new one {len(after):,}; up to there they are the same"
        )
    raise GenerationError(
        f"the answers part at token {step}: id {before[step]} was saved, {after[step]} came; see the saved run's host"
    )
