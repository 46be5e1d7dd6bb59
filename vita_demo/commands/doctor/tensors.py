"""Checks that the weight files hold exactly the tensors of the model that the settings describe."""

from pathlib import Path

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.doctor.files import Weights
from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import CheckpointError
from vita_demo.model.loading.checkpoint import Checkpoint, TensorProblem

GROUP = "Tensors"
_ENCODERS = {"model.vision_tower.": "--vision_tower", "model.audio_encoder.": "--audio_encoder"}


def check_tensors(
    findings: list[Finding], folder: Path, config: VitaConfig, vocab_size: int | None, weights: Weights, fetch: str
) -> None:
    """Compare names and shapes in the headers with the model, as strictly as loading does.

    Args:
        findings: where to add the result.
        folder: the checkpoint's.
        config: its settings.
        vocab_size: size of the tokenizer's vocabulary; None when it cannot be read.
        weights: the headers of the weight files.
        fetch: the command that fetches the whole checkpoint again.
    """
    if not weights.tensors:
        findings.append(Finding(GROUP, "note", "no weight file can be read, so no tensor was compared"))
        return
    try:
        checkpoint = Checkpoint.of(folder, config, vocab_size or config.text.vocab_size, weights.tensors)
    except CheckpointError as error:
        findings.append(Finding(GROUP, "problem", str(error), "take the tokenizer's files of this checkpoint"))
        checkpoint = Checkpoint.of(folder, config, config.text.vocab_size, weights.tensors)
    if weights.unreadable:
        text = f"{len(weights.unreadable):,} tensors lie in weight files that cannot be read, and were not compared"
        findings.append(Finding(GROUP, "note", text))
    problems = [problem for problem in checkpoint.problems() if problem.name not in weights.unreadable]
    findings += [Finding(GROUP, "problem", str(problem), _fix(problem, fetch)) for problem in problems]
    if not problems:
        findings.append(Finding(GROUP, "ok", f"{len(weights.tensors):,} tensors have the expected names and shapes"))


def _fix(problem: TensorProblem, fetch: str) -> str:
    for prefix, flag in _ENCODERS.items():
        if problem.name.startswith(prefix) and "shape" in problem.reason:
            return f"give the folder of this checkpoint's own encoder settings with {flag}"
    return fetch
