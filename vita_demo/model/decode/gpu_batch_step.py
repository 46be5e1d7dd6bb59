"""A decode step for GPUs that reads one token for each of several slots: a CUDA graph for 2, 4, 8, … slots.

On a GPU a step takes as long as reading the weights, so rows that nobody asked for cost little: row and slot have the
same number, and the smallest graph that has all of the rows is replayed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vita_demo.model.decode.cuda_graph import Capture
from vita_demo.model.decode.gpu_step import GpuStep
from vita_demo.model.language_model import KVCache, LanguageModel


class GpuBatchStep:
    """Reads one token after those in each of some slots, by torch's operations.

    Rows that nobody asked for write to the first free position of their slots, which whatever comes there overwrites.

    Args:
        model: the weights.
        cache: of all slots, empty, [layers, slots, kv heads, capacity, head_dim].  One position of each slot more than
            sequences may fill: there a full slot takes what it is not asked for.
        capture: captures the steps, now; None launches torch's operations one by one.
    """

    def __init__(self, model: LanguageModel, cache: KVCache, capture: Capture | None = None) -> None:
        slots, self._device = cache.keys.shape[1], cache.keys.device
        self._steps = {
            rows: GpuStep(model, cache.sequences(0, rows), capture, kernels=False) for rows in _count_rows(slots)
        }

    def __call__(self, slots: Sequence[int], lengths: Sequence[int], token_ids: Tensor) -> Tensor:
        """See ``BatchStep``."""
        rows = next(rows for rows in self._steps if rows > max(slots))
        asked = torch.tensor(slots, device=self._device)  # [B]
        tokens = asked.new_zeros(rows).index_copy_(0, asked, token_ids.to(self._device))  # [rows]
        positions = torch.tensor(lengths[:rows], device=self._device)  # [rows]
        return self._steps[rows].launch_rows(tokens, positions).index_select(0, asked)  # [B, vocab_size]


def _count_rows(slots: int) -> list[int]:
    """Return the rows of each graph: powers of two from 2 on, and all slots."""
    return [*(1 << power for power in range(1, slots.bit_length()) if 1 << power < slots), slots]
