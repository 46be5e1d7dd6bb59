"""Device and dtype of a model, and the memory of the device and of the machine."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vita_demo.errors import GenerationError, InputError
from vita_demo.model.decode.gemv import bfloat16_is_faster

logger = logging.getLogger("vita_demo.engine.device")

# In float32.  A smaller model is fast in any dtype, and answers alike on every machine in float32.
_LARGE_BYTES = 1 << 30
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """Turn a ``ModelSource``'s name into a device of this machine; "auto" is a GPU if there is one.

    A GPU has its index then, as "cuda" alone is another one in a thread with another current device.

    Raises:
        InputError: when the device is absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device {name} is not there ({torch.cuda.device_count()} CUDA devices found); give cpu or auto"
        )
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def resolve_dtype(name: str, declared: str, device: torch.device, parameters: int) -> torch.dtype:
    """Turn "auto" or a name into a dtype.

    "auto" is the checkpoint's declared dtype on a GPU.  On a CPU it is float32, but bfloat16

    * if float32 would take more than half of the machine's memory, or
    * if the checkpoint is in bfloat16, has more than 1 GiB in float32, and this processor decodes bfloat16 faster.

    A large model in float16 on a GPU is warned of.
    """
    if name != "auto" or device.type == "cuda":
        dtype = _DTYPES.get(declared if name == "auto" else name, torch.bfloat16)
        if dtype == torch.float16 and device.type == "cuda" and 4 * parameters > _LARGE_BYTES:
            logger.warning("large Qwen2 models overflow in float16 and then answer nonsense; give --dtype bfloat16")
        return dtype
    if 4 * parameters > physical_memory_bytes() / 2:
        return torch.bfloat16
    large = declared == "bfloat16" and 4 * parameters > _LARGE_BYTES
    return torch.bfloat16 if large and bfloat16_is_faster() else torch.float32


def configure(device: torch.device) -> None:
    """Set torch's switches for the device, in the whole process.

    Without cuDNN attention is FlashAttention: cuDNN's makes a plan for each new length in each thread, which takes
    longer than reading many a prompt.
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def synchronizer(device: torch.device) -> Callable[[], None]:
    """Return a function that waits until the device has done the work of the calling thread's current stream.

    Waiting for the whole device would break the capture of a CUDA graph in another thread.
    """
    if device.type == "cuda":
        return lambda: torch.cuda.current_stream(device).synchronize()
    return lambda: None


def reset_peak_memory(device: torch.device) -> None:
    """Reset what ``peak_memory_bytes`` returns for a CUDA device; a process's peak on the CPU cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Most memory allocated on a CUDA device since the reset; else the process's peak resident set, if known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        # For a process forked from a large one, getrusage would return the parent's peak.
        return next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM:"))
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def current_memory_bytes() -> tuple[int, int]:
    """Return the process's resident set, if known, and the bytes allocated on all CUDA devices."""
    gpu = 0
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gpu = sum(torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count()))
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 - fast, as callbacks call this for each token
            host = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        host = 0
    return host, gpu


@contextmanager
def memory_guard(advice: str) -> Iterator[None]:
    """Turn any allocator's out-of-memory error into a ``GenerationError`` with one line of advice."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        raise GenerationError(f"out of memory; {advice}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise GenerationError(f"out of memory; {advice}") from error


def copy_bandwidth_bytes_per_s(device: torch.device, size_bytes: int = 256 << 20) -> float:
    """Measure the bandwidth of a copy, bytes read plus bytes written; the best of five after a warm-up."""
    import time

    # A GPU copies so fast that launching and awaiting one copy would take a tenth of its time.
    copies = 8 if device.type == "cuda" else 1

    source = torch.ones(size_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    wait, times = synchronizer(device), []
    for _ in range(6):
        wait()
        start = time.perf_counter()
        for _ in range(copies):
            target.copy_(source)
        wait()
        times.append(time.perf_counter() - start)
    return 2 * size_bytes * copies / min(times[1:])


def physical_memory_bytes() -> int:
    """Return the machine's physical memory; 16 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 << 30


def available_memory_bytes(device: torch.device) -> int:
    """Return the memory of a GPU, or of the machine, that nobody uses; half of the machine's where it does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return physical_memory_bytes() // 2
