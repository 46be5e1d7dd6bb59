"""The state of a lesson on disk: what is needed to go on after an interruption as if there had been none."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tools.train_vita_tiny.optimizers import Optimizers

KEEP_SECONDS = 240


def save(path: Path, learner: nn.Module, optimizers: Optimizers, rng: np.random.Generator, step: int) -> None:
    """Write the weights, the optimizers' averages, the random generator and the number of the next step."""
    state = {
        "weights": learner.state_dict(), "optimizers": optimizers.state(), "rng": rng.bit_generator.state, "step": step,
    }  # fmt: skip
    draft = path.with_suffix(".new")
    torch.save(state, draft)
    draft.replace(path)


def resume(path: Path | None, learner: nn.Module, optimizers: Optimizers, rng: np.random.Generator) -> int:
    """Take up what ``save`` wrote and return the next step; 0 where nothing was written."""
    if path is None or not path.exists():
        return 0
    state = torch.load(path, weights_only=False)
    learner.load_state_dict(state["weights"])
    optimizers.take_up(state["optimizers"])
    rng.bit_generator.state = state["rng"]
    step: int = state["step"]
    return step
