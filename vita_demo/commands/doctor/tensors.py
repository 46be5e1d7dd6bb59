"""Has every tensor its place in the model, and every place its tensor?"""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.doctor.files import Weights
from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import CheckpointError

if TYPE_CHECKING:
    from vita_demo.model.loading.checkpoint import TensorProblem

GROUP = "Tensors"
_ENCODERS = {"model.vision_tower.": "--vision_tower", "model.audio_encoder.": "--audio_encoder"}


def check_tensors(
    folder: Path, config: VitaConfig, vocab_size: int | None, weights: Weights, fetch: str
) -> Generator[Finding, None, None]:
    """Compare the headers with the model that the settings describe, as strictly as loading does.

    Args:
        folder: the checkpoint's.
        config: its settings.
        vocab_size: number of the tokenizer's tokens; None when it cannot be read.
        weights: what the headers say.
        fetch: how the whole checkpoint is fetched again.
    """
    from vita_demo.model.loading.checkpoint import Checkpoint

    if not weights.tensors:
        yield Finding(GROUP, "note", "no weight file can be read, so no tensor was compared")
        return
    try:
        checkpoint = Checkpoint.of(folder, config, vocab_size or config.text.vocab_size, weights.tensors)
    except CheckpointError as error:
        yield Finding(GROUP, "problem", str(error), "take the tokenizer's files of this checkpoint")
        checkpoint = Checkpoint.of(folder, config, config.text.vocab_size, weights.tensors)
    problems = [problem for problem in checkpoint.problems() if problem.name not in weights.out_of_reach]
    if weights.out_of_reach:
        text = f"{len(weights.out_of_reach):,} tensors lie in weight files that cannot be read, and were not compared"
        yield Finding(GROUP, "note", text)
    for problem in problems:
        yield Finding(GROUP, "problem", str(problem), _fix(problem, fetch))
    if not problems:
        yield Finding(GROUP, "ok", f"{len(weights.tensors):,} tensors have the expected names and shapes")


def _fix(problem: "TensorProblem", fetch: str) -> str:
    for prefix, flag in _ENCODERS.items():
        if problem.name.startswith(prefix) and "shape" in problem.reason:
            return f"give the folder of this checkpoint's own encoder settings with {flag}"
    return fetch
