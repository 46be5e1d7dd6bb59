"""Whether two implementations of one computation agree."""

from torch import Tensor

TOLERANCE = 0.1
"""How far results may be apart in half precision, as a share of the largest.

Each implementation rounds sums at other places, the modules even the weights that they dequantize, and every layer adds
to that: logits of 28 random layers in bfloat16 differ by up to 5 % of the largest between right implementations.  A
wrong mask, position or scale moves logits by about as much as they are large.
"""


def deviation(found: Tensor, expected: Tensor) -> float:
    """Return how far two tensors are apart at most, as a share of the largest value expected."""
    found, expected = found.float(), expected.float()
    return float((found - expected).abs().max() / expected.abs().max())


def check_agreement(found: Tensor, expected: Tensor) -> None:
    """Compare the results of two implementations.

    Raises:
        RuntimeError: when they differ by more than rounding explains.
    """
    # NaN is no agreement either.
    if not deviation(found, expected) <= TOLERANCE:
        raise RuntimeError("it gives other results")
