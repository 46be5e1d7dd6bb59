"""Products of a weight matrix with one vector, on all cores of the CPU.

``F.linear`` with one row runs on one thread in float32.  A matrix cut into equal stripes of rows is a batch of
products, which run on all threads; nothing is copied, and each row's sum is the same to the last bit.  In bfloat16
torch's own loop is the fastest way, see ``onednn``; the products are to be called inside ``fastest_way``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial

import torch
from torch import Tensor, nn

from vita_demo.model.onednn import bypass, bypass_is_faster
from vita_demo.model.probing import best_s
from vita_demo.model.quantized_linear import QuantizedLinear

Product = Callable[..., object]
"""Writes ``addend + alpha · weight @ x`` into its output; takes ``alpha``, 1 unless given."""

STRIPES = 8
# Stripes of a height that is no multiple of the kernels' own would round some rows differently.
_ROWS = 16
# Below, waking the other threads takes longer than they save.
_WORTH_STRIPES = 1 << 18


def bind_linear(linear: nn.Linear | QuantizedLinear, x: Tensor, out: Tensor, addend: Tensor | None = None) -> Product:
    """Prepare the product with a layer's weight, without its bias; see ``bind_product``."""
    if not isinstance(linear, QuantizedLinear):
        return bind_product(linear.weight, x, out, addend)

    rows = x[None]  # [1, K]
    return lambda alpha=1.0: _settle(linear.product(rows)[0], alpha, addend, out)


def bind_product(weight: Tensor, x: Tensor, out: Tensor, addend: Tensor | None = None) -> Product:
    """Prepare ``addend + alpha · weight @ x`` for buffers that stay where they are.

    Args:
        weight: [N, K].
        x: [K].
        out: [N].
        addend: [N]; may be ``out`` itself; None adds nothing.
    """
    if weight.dtype == torch.bfloat16 and bypass_is_faster():
        # The loop has no addend: with one, torch takes a way that is ten times slower.
        row = out if addend is None else torch.empty_like(out)
        return lambda alpha=1.0: _settle(torch.mv(weight, x, out=row), alpha, addend, out)
    rows, columns = weight.shape
    beta, addend = (0, out) if addend is None else (1, addend)
    if weight.dtype != torch.float32:
        # With fewer bits only the product of matrices runs on all threads.
        return partial(torch.addmm, addend[None], x[None], weight.t(), beta=beta, out=out[None])
    striped = rows - rows % (STRIPES * _ROWS)
    if not striped or rows * columns < _WORTH_STRIPES:
        return partial(torch.addmv, addend, weight, x, beta=beta, out=out)
    product = partial(
        torch.baddbmm,
        addend[:striped].view(STRIPES, 1, -1),  # [stripes, 1, N / stripes]
        x.expand(STRIPES, 1, columns),  # [stripes, 1, K]
        weight[:striped].view(STRIPES, -1, columns).mT,  # [stripes, K, N / stripes]
        beta=beta,
        out=out[:striped].view(STRIPES, 1, -1),  # [stripes, 1, N / stripes]
    )
    if striped == rows:
        return product
    rest = partial(torch.addmv, addend[striped:], weight[striped:], x, beta=beta, out=out[striped:])
    return lambda alpha=1.0: (product(alpha=alpha), rest(alpha=alpha))


def _settle(row: Tensor, alpha: float, addend: Tensor | None, out: Tensor) -> None:
    """Write ``addend + alpha · row``, all of them [N]."""
    if addend is None:
        torch.mul(row, alpha, out=out)
    else:
        torch.add(addend, row, alpha=alpha, out=out)


@cache
def bfloat16_is_faster() -> bool:
    """Measure once, in some milliseconds, whether this processor multiplies bfloat16 with one vector faster."""
    times = []
    for dtype in (torch.bfloat16, torch.float32):
        x, out = torch.ones(2048, dtype=dtype), torch.empty(4096, dtype=dtype)
        product = bind_product(torch.ones(4096, 2048, dtype=dtype), x, out)
        with fastest_way(dtype):
            times.append(best_s(product))
    return times[0] < times[1]


def fastest_way(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Return where products of this precision are to be called."""
    return bypass if dtype == torch.bfloat16 and bypass_is_faster() else nullcontext()
