"""Products of a weight matrix with one vector, on all cores of the CPU.

``F.linear`` with one row runs on one thread in float32.  A matrix cut into equal stripes of rows is a batch of
products, which run on all threads; nothing is copied, and each row's sum is the same to the last bit.  In bfloat16
torch's own loop is the fastest way, see ``onednn``; the products are to be called inside ``fastest_way``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from vita_demo.model.ops.cpu_profile import choose
from vita_demo.model.ops.onednn import bypass, bypass_is_faster
from vita_demo.model.ops.timing import best_s
from vita_demo.model.quantize.linear import QuantizedLinear

Product = Callable[..., object]
"""Writes ``addend + alpha · weight @ x`` into its output; takes ``alpha``, 1 unless given."""

STRIPES = 8
# Stripes of a height that is no multiple of the kernels' own would round some rows differently.
_ROWS = 16
# Values of a matrix: from here on stripes are faster everywhere, between the two on some processors, below on none.
_WORTH_STRIPES, _MAYBE_WORTH_STRIPES = 1 << 18, 1 << 16


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
    stripes = _count_stripes(rows, columns)
    if not stripes:
        return partial(torch.addmv, addend, weight, x, beta=beta, out=out)
    striped = rows - rows % (stripes * _ROWS)
    product = _bind_stripes(weight[:striped], x, out[:striped], addend[:striped], beta, stripes)
    if striped == rows:
        return product
    rest = partial(torch.addmv, addend[striped:], weight[striped:], x, beta=beta, out=out[striped:])
    return lambda alpha=1.0: (product(alpha=alpha), rest(alpha=alpha))


def _bind_stripes(weight: Tensor, x: Tensor, out: Tensor, addend: Tensor, beta: int, stripes: int) -> Product:
    return partial(
        torch.baddbmm,
        addend.view(stripes, 1, -1),  # [stripes, 1, N / stripes]
        x.expand(stripes, 1, -1),  # [stripes, 1, K]
        weight.view(stripes, -1, len(x)).mT,  # [stripes, K, N / stripes]
        beta=beta,
        out=out.view(stripes, 1, -1),  # [stripes, 1, N / stripes]
    )


def _count_stripes(rows: int, columns: int) -> int:
    """Return into how many stripes a matrix is cut; 0 where it is not."""
    if rows * columns >= _WORTH_STRIPES:
        return STRIPES if rows >= STRIPES * _ROWS else 0
    if rows * columns < _MAYBE_WORTH_STRIPES:
        return 0
    # A thread has one stripe; a rest by itself would take half as long as a small matrix.
    threads = min(torch.get_num_threads(), STRIPES)
    fits = rows % (threads * _ROWS) == 0 or rows * columns >= 2 * _MAYBE_WORTH_STRIPES
    return threads if fits and threads > 1 and _small_stripes_are_faster(threads) else 0


def _small_stripes_are_faster(stripes: int) -> bool:
    return choose("gemv_stripes_small", lambda: _time_small_stripes(stripes))


def _time_small_stripes(stripes: int) -> tuple[float, float]:
    """Return the seconds of small GEMVs in stripes and whole, over more weights than a core's own cache holds."""
    weights, x, out = torch.ones(12, 512, 128), torch.ones(128), torch.empty(512)
    whole = [partial(torch.addmv, out, weight, x, beta=0, out=out) for weight in weights]
    striped = [_bind_stripes(weight, x, out, out, 0, stripes) for weight in weights]
    whole_s = best_s(lambda: [product() for product in whole])
    return best_s(lambda: [product() for product in striped]), whole_s


def _settle(row: Tensor, alpha: float, addend: Tensor | None, out: Tensor) -> None:
    """Write ``addend + alpha · row``, all of them [N]."""
    if addend is None:
        torch.mul(row, alpha, out=out)
    else:
        torch.add(addend, row, alpha=alpha, out=out)


def bfloat16_is_faster() -> bool:
    """Tell whether a GEMV is faster in bfloat16 than in float32 here, and so decoding; see ``CpuProfile``."""
    return choose("decodes_bfloat16", _time_precisions)


def _time_precisions() -> tuple[float, float]:
    """Return the seconds of a GEMV in bfloat16 and in float32; takes some milliseconds."""
    times = []
    for dtype in (torch.bfloat16, torch.float32):
        x, out = torch.ones(2048, dtype=dtype), torch.empty(4096, dtype=dtype)
        product = bind_product(torch.ones(4096, 2048, dtype=dtype), x, out)
        with fastest_way(dtype):
            times.append(best_s(product))
    return times[0], times[1]


def fastest_way(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Return where products of this precision are to be called."""
    return bypass if dtype == torch.bfloat16 and bypass_is_faster() else nullcontext()
