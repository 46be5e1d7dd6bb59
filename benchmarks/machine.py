"""What the machine can do at best: how fast it copies, reads and multiplies, as measured here and now."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from vita_demo.engine.device import copy_bandwidth_bytes_per_s, synchronizer

# Far more than any cache holds.
_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}
# Rows and columns of the matrices that are multiplied.
_SIDE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class Machine:
    """Measured rates of a device.

    Attributes:
        copy_bytes_per_s: copying within its memory, bytes read and written together.
        read_bytes_per_s: summing float32 values, which only reads.
        matmul_flop_per_s: multiplying square matrices of random numbers in the dtype of the model; on a CPU in float32
            where that is faster, as products may be computed there so too.
    """

    copy_bytes_per_s: float
    read_bytes_per_s: float
    matmul_flop_per_s: float

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype) -> "Machine":
        """Measure the device; takes about a second."""
        size, side = _BYTES[device.type], _SIDE[device.type]
        copied = copy_bandwidth_bytes_per_s(device, size)
        values = torch.ones(size // 4, device=device)
        read = size / best_s(values.sum, device)
        dtypes = {dtype, torch.float32} if device.type == "cpu" else {dtype}
        multiplied_s = min(_multiply_s(side, device, dtype) for dtype in dtypes)
        return cls(copied, read, 2 * side**3 / multiplied_s)

    def to_dict(self) -> dict[str, float]:
        """Return what the JSON line says of the machine."""
        return asdict(self)

    def __str__(self) -> str:
        gigabytes = f"copies {self.copy_bytes_per_s / 1e9:.4g} GB/s and reads {self.read_bytes_per_s / 1e9:.4g}"
        return f"{gigabytes}, multiplies {self.matmul_flop_per_s / 1e12:.3g} TFLOP/s"


def _multiply_s(side: int, device: torch.device, dtype: torch.dtype) -> float:
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    return best_s(lambda: a @ b, device)


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, until the device has done its work."""
    wait = synchronizer(device)
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def best_s(call: Callable[[], Tensor], device: torch.device) -> float:
    """Return the seconds of the fastest of five calls after two that warm up."""
    with torch.inference_mode():
        return min([timed(call, device) for _ in range(7)][2:])
