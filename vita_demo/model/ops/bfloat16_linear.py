"""A linear layer with bfloat16 weights that multiplies in float32, for processors without bfloat16 instructions.

They multiply matrices several times slower in bfloat16 than in float32.  Converting a block of the weight, small enough
to stay in the processor's cache, costs little beside multiplying many rows by it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.model.ops.cpu_profile import choose
from vita_demo.model.ops.timing import best_s

# Values of a block: 2 MiB in float32.
_BLOCK_VALUES = 1 << 19
# With fewer rows the time is that of reading the weight, which is half as long in bfloat16.
_MIN_ROWS = 8


class Linear(nn.Linear):
    """``nn.Linear`` that multiplies bfloat16 in float32 where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., S, K] to [..., S, N]."""
        # Autograd cannot go back through blocks that are overwritten.
        eligible = x.dtype == torch.bfloat16 and x.device.type == "cpu" and not torch.is_grad_enabled()
        if eligible and x.shape[-2] >= _MIN_ROWS and float32_is_faster():
            return linear_in_float32(x, self.weight, self.bias)
        return super().forward(x)


def linear_in_float32(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``F.linear`` of [..., K] and [N, K] in float32; return it in the dtype of ``x``."""
    x32 = x.flatten(0, -2).float()  # [S, K]
    out = x32.new_empty(len(x32), len(weight))  # [S, N]
    rows = max(1, _BLOCK_VALUES // weight.shape[1])
    block = x32.new_empty(min(rows, len(weight)), weight.shape[1])  # [rows, K]
    for part, columns in zip(torch.split(weight, rows), torch.split(out, rows, dim=1), strict=True):
        torch.mm(x32, block[: len(part)].copy_(part).t(), out=columns)
    if bias is not None:
        out += bias
    return out.to(x.dtype).view(*x.shape[:-1], -1)  # [..., N]


def float32_is_faster() -> bool:
    """Tell whether many rows of bfloat16 are multiplied faster in float32 here; see ``CpuProfile``."""
    return choose("bfloat16_gemm_in_float32", _time_float32)


def _time_float32() -> tuple[float, float]:
    """Return the seconds of a small GEMM in float32 and in bfloat16; takes a few milliseconds."""
    x, weight = torch.ones(64, 512, dtype=torch.bfloat16), torch.ones(512, 512, dtype=torch.bfloat16)
    return best_s(lambda: linear_in_float32(x, weight, None)), best_s(lambda: F.linear(x, weight))
