"""What Triton kernels that multiply by a weight have in common: a program's rows, and what becomes of their sums."""

import triton
import triton.language as tl


@triton.jit
def rows_of(program, n, gated: tl.constexpr, rows: tl.constexpr):
    """Return a program's rows of the weight, and whether they are there.

    Of a gated product, whose weight stacks gate and up, it has the gates of its outputs and then their ups.
    """
    outputs: tl.constexpr = rows // 2 if gated else rows
    output = program * outputs + tl.arange(0, rows) % outputs
    return output + tl.arange(0, rows) // outputs * n, output < n


@triton.jit
def store_sums(sums, program, n, addend, out, added: tl.constexpr, gated: tl.constexpr, rows: tl.constexpr):
    """Gate the sums of a program's rows, add a bias or residual, and store them as outputs."""
    outputs: tl.constexpr = rows // 2 if gated else rows
    if gated:
        gate, up = tl.split(tl.trans(tl.reshape(sums, [2, outputs])))
        sums = gate * tl.sigmoid(gate) * up
    output = program * outputs + tl.arange(0, outputs)
    if added:
        sums += tl.load(addend + output, mask=output < n, other=0.0).to(tl.float32)
    tl.store(out + output, sums, mask=output < n)
