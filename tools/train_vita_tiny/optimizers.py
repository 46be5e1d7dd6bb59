"""Who changes the weights: Muon the matrices inside transformer layers, AdamW everything else.

From scratch Muon (Jordan et al. 2024) needs about half of AdamW's steps here.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from tools.train_vita_tiny.schedule import Schedule

_MATRIX_SCALE = 3.0
_DECAY = 0.05


class Optimizers:
    """The optimizers of one lesson.

    Each parameter's learning rate is the schedule's times the scale of the longest prefix in ``scales`` that its name
    begins with; those of scale 0 stay as they are.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], schedule: Schedule, scales: dict[str, float]) -> None:
        self.schedule = schedule
        self.parameters: list[nn.Parameter] = []
        groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
        for name, parameter in named:
            scale = max((len(prefix), scale) for prefix, scale in scales.items() if name.startswith(prefix))[1]
            parameter.requires_grad_(scale > 0)
            if scale:
                matrix = parameter.dim() == 2 and ("layers." in name or "encoders." in name) and "pos_bias" not in name
                decay = _DECAY if parameter.dim() >= 2 and "embed" not in name else 0.0
                groups.setdefault((matrix, scale * (_MATRIX_SCALE if matrix else 1.0), decay), []).append(parameter)
                self.parameters.append(parameter)
        by_kind: dict[bool, list[dict[str, object]]] = {}
        for (matrix, scale, decay), params in groups.items():
            by_kind.setdefault(matrix, []).append({"params": params, "scale": scale, "weight_decay": decay})
        self._all: list[Optimizer] = []
        if False in by_kind:
            self._all.append(torch.optim.AdamW(by_kind[False], betas=(0.9, 0.98)))
        if True in by_kind:
            self._all.append(torch.optim.Muon(by_kind[True], adjust_lr_fn="match_rms_adamw"))

    def prepare(self, step: int) -> None:
        """Set the learning rates of ``step`` and forget the gradients."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = self.schedule.rate(step) * group["scale"]
            optimizer.zero_grad()

    def learn(self) -> None:
        """Clip the gradients and change the weights."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self._all:
            optimizer.step()

    def state(self) -> list[dict[str, object]]:
        """Return what the optimizers remember."""
        return [optimizer.state_dict() for optimizer in self._all]

    def take_up(self, state: list[dict[str, object]]) -> None:
        """Remember what ``state`` returned."""
        for optimizer, remembered in zip(self._all, state, strict=True):
            optimizer.load_state_dict(remembered)
