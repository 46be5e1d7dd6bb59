"""Products of a weight matrix and one vector (GEMV) on all cores of the CPU.

``F.linear`` with one row runs on a single thread in float32.  Here the matrix is cut into stripes of equal height: to
torch a batched matrix product, which runs on all threads.  Nothing is copied, and each row's sum is the same to the
last bit.  In bfloat16 torch's own loop is the fastest, but only while oneDNN is off; see ``onednn`` and
``gemv_context``.
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

Gemv = Callable[..., object]
"""Writes ``addend + alpha · weight @ x`` into its output; the only argument is ``alpha``, by default 1."""

STRIPES = 8
# The height of a stripe is a multiple of this, else the BLAS kernels would round its last rows otherwise.
_ROW_MULTIPLE = 16
# Values of a matrix.  From the first number on stripes pay off on every processor, below the second on none.
_LARGE, _SMALL = 1 << 18, 1 << 16


def bind_linear(linear: nn.Linear | QuantizedLinear, x: Tensor, out: Tensor, addend: Tensor | None = None) -> Gemv:
    """Prepare the product with a layer's weight, without its bias; see ``bind_gemv``."""
    if not isinstance(linear, QuantizedLinear):
        return bind_gemv(linear.weight, x, out, addend)

    rows = x[None]  # [1, K]
    return lambda alpha=1.0: _add_scaled(linear.matmul(rows)[0], alpha, addend, out)


def bind_gemv(weight: Tensor, x: Tensor, out: Tensor, addend: Tensor | None = None) -> Gemv:
    """Prepare ``out = addend + alpha · weight @ x`` for buffers that stay where they are.

    All views are made and the implementation is chosen here, so that a call is one operation.

    Args:
        weight: [N, K].
        x: [K].
        out: [N].
        addend: [N]; may be ``out`` itself; None adds nothing.
    """
    if weight.dtype == torch.bfloat16 and bypass_is_faster():
        # With an addend torch takes a path that is ten times slower, so it is added afterwards.
        product = out if addend is None else torch.empty_like(out)
        return lambda alpha=1.0: _add_scaled(torch.mv(weight, x, out=product), alpha, addend, out)
    rows, columns = weight.shape
    beta, addend = (0, out) if addend is None else (1, addend)
    if weight.dtype != torch.float32:
        # In 16 bits torch runs a matrix product on all threads, a matrix-vector product on one.
        return partial(torch.addmm, addend[None], x[None], weight.t(), beta=beta, out=out[None])
    stripes = _count_stripes(rows, columns)
    if not stripes:
        return partial(torch.addmv, addend, weight, x, beta=beta, out=out)
    striped = rows - rows % (stripes * _ROW_MULTIPLE)
    product_of_stripes = _bind_stripes(weight[:striped], x, out[:striped], addend[:striped], beta, stripes)
    if striped == rows:
        return product_of_stripes
    remainder = partial(torch.addmv, addend[striped:], weight[striped:], x, beta=beta, out=out[striped:])
    return lambda alpha=1.0: (product_of_stripes(alpha=alpha), remainder(alpha=alpha))


def _bind_stripes(weight: Tensor, x: Tensor, out: Tensor, addend: Tensor, beta: int, stripes: int) -> Gemv:
    return partial(
        torch.baddbmm,
        addend.view(stripes, 1, -1),  # [stripes, 1, N / stripes]
        x.expand(stripes, 1, -1),  # [stripes, 1, K]
        weight.view(stripes, -1, len(x)).mT,  # [stripes, K, N / stripes]
        beta=beta,
        out=out.view(stripes, 1, -1),  # [stripes, 1, N / stripes]
    )


def _count_stripes(rows: int, columns: int) -> int:
    """Return into how many stripes to cut a matrix; 0 leaves it whole."""
    if rows * columns >= _LARGE:
        return STRIPES if rows >= STRIPES * _ROW_MULTIPLE else 0
    if rows * columns < _SMALL:
        return 0
    # One stripe a thread.  In a matrix this small the remainder, on one thread, would take half of the time.
    threads = min(torch.get_num_threads(), STRIPES)
    fits = rows % (threads * _ROW_MULTIPLE) == 0 or rows * columns >= 2 * _SMALL
    return threads if fits and threads > 1 and _small_stripes_are_faster(threads) else 0


def _small_stripes_are_faster(stripes: int) -> bool:
    return choose("gemv_stripes_small", lambda: _time_small_stripes(stripes))


def _time_small_stripes(stripes: int) -> tuple[float, float]:
    """Return the seconds of small GEMVs in stripes and whole, over more weights than a core's own cache holds."""
    weights, x, out = torch.ones(12, 512, 128), torch.ones(128), torch.empty(512)
    whole = [partial(torch.addmv, out, weight, x, beta=0, out=out) for weight in weights]
    striped = [_bind_stripes(weight, x, out, out, 0, stripes) for weight in weights]
    whole_s = best_s(lambda: [gemv() for gemv in whole])
    return best_s(lambda: [gemv() for gemv in striped]), whole_s


def _add_scaled(product: Tensor, alpha: float, addend: Tensor | None, out: Tensor) -> None:
    """Write ``addend + alpha · product``, all of them [N]."""
    if addend is None:
        torch.mul(product, alpha, out=out)
    else:
        torch.add(addend, product, alpha=alpha, out=out)


def bfloat16_is_faster() -> bool:
    """Tell whether a GEMV is faster in bfloat16 than in float32 here, and so decoding; see ``CpuProfile``."""
    return choose("decodes_bfloat16", _time_dtypes)


def _time_dtypes() -> tuple[float, float]:
    """Return the seconds of a GEMV in bfloat16 and in float32; takes some milliseconds."""
    times_s = []
    for dtype in (torch.bfloat16, torch.float32):
        x, out = torch.ones(2048, dtype=dtype), torch.empty(4096, dtype=dtype)
        gemv = bind_gemv(torch.ones(4096, 2048, dtype=dtype), x, out)
        with gemv_context(dtype):
            times_s.append(best_s(gemv))
    return times_s[0], times_s[1]


def gemv_context(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Return the context in which GEMVs of this dtype are to be called: without oneDNN where that is faster."""
    return bypass if dtype == torch.bfloat16 and bypass_is_faster() else nullcontext()
