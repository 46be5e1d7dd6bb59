"""Switches off oneDNN, the library that torch uses for bfloat16 products on the CPU.

oneDNN is fast at many rows.  One row is multiplied up to twice as fast by torch's own loop, which torch falls back to
while oneDNN is off.  The switch is global to the process.
"""

from threading import Lock
from typing import Any

import torch

from vita_demo.model.ops.cpu_profile import choose
from vita_demo.model.ops.timing import best_s

# Typed as Any: its attributes are properties, which its stub does not say.
_onednn: Any = torch.backends.mkldnn


class _Bypass:
    """A context without oneDNN.  Threads may be inside together; the last one out restores the switch."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before, _onednn.enabled = _onednn.enabled, False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _onednn.enabled = self._before


bypass = _Bypass()


def bypass_is_faster() -> bool:
    """Tell whether a bfloat16 GEMV is faster without oneDNN here; see ``CpuProfile``."""
    return choose("gemv_bypasses_onednn", _time_bypass)


def _time_bypass() -> tuple[float, float]:
    """Return the seconds of a small GEMV without oneDNN and with it; takes about a millisecond."""
    weight, x = torch.ones(512, 512, dtype=torch.bfloat16), torch.ones(512, dtype=torch.bfloat16)
    onednn_s = best_s(lambda: torch.mm(x[None], weight.t()))
    with bypass:
        return best_s(lambda: torch.mv(weight, x)), onednn_s
