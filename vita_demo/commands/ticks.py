"""Round numbers for an axis."""

import math


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return the multiples of a step within ``low`` … ``high``; ``high`` must be above ``low``.

    The step is the smallest of 1, 2 or 5 times a power of ten that divides the range into at most ``count`` parts.
    """
    least = (high - low) / count * (1 - 1e-9)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]
