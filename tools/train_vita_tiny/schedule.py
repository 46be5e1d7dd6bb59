"""How long and how boldly to learn."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A learning rate that rises for a share ``rise`` of the steps and falls along a cosine to ``last`` of its peak."""

    steps: int
    batch_size: int
    peak: float
    last: float = 0.02
    rise: float = 0.05

    def rate(self, step: int) -> float:
        """Return the learning rate at ``step``."""
        rise = max(1, int(self.steps * self.rise))
        if step < rise:
            return self.peak * (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.peak * (self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * done)))
