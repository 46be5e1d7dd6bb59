"""A decode step for GPUs: in the fastest of several implementations, replayed as a CUDA graph.

Attention may read one bucket of the cache: its first 512 slots, 1,024, 2,048 and so on.  Each bucket has a graph of its
own.  A bucket is a view of the cache, so going on to the next one copies nothing.
The step itself runs on any device; its graphs have not run on a GPU yet.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from vita_demo.model.decode.cuda_graph import Call
from vita_demo.model.decode.step import DecodeStep
from vita_demo.model.decode.torch_step import CompiledStep, TorchStep
from vita_demo.model.language_model import KVCache, LanguageModel
from vita_demo.model.ops.timing import best_s

logger = logging.getLogger("vita_demo.model")

FIRST_BUCKET = 512
# How far logits may be off, as a share of the largest: other kernels, and other implementations, round otherwise.
_TOLERANCE = 0.1


def bucket_of(positions: int) -> int:
    """Return the size of the smallest bucket that holds so many positions."""
    return max(FIRST_BUCKET, 1 << (positions - 1).bit_length())


class GpuStep:
    """Reads one token after those in the cache.

    The first step in each bucket is taken by every implementation that is left.  Those that fail or disagree with
    ``TorchStep`` are dropped with a warning, and the fastest of the others takes all further steps.

    Args:
        model: the weights.
        cache: the generation's; it may be truncated between steps.
        capture: turns a call into its replay; None launches the operations of each step one by one.
        compiled: let torch's compiler fuse the operations, which takes seconds at the first step.
        kernels: try Triton kernels where steps are captured.

    Attributes:
        prepared_s: seconds spent on "compile" and on "capture" since it was last cleared.
    """

    def __init__(
        self,
        model: LanguageModel,
        cache: KVCache,
        capture: Callable[[Call], Call] | None = None,
        *,
        compiled: bool = False,
        kernels: bool = True,
    ) -> None:
        self.prepared_s: dict[str, float] = {}
        self._model, self._cache, self._capture = model, cache, capture
        keys = cache.keys
        # Two tensors rather than one of two values: kernels are compiled for addresses that are multiples of 16.
        self._token, self._position = (torch.zeros(1, dtype=torch.long, device=keys.device) for _ in range(2))
        self._logits = keys.new_empty(1, model.config.vocab_size)
        self._faster = faster_steps(model, kernels=kernels and capture is not None, compiled=compiled)
        self._calls: dict[int, Call] = {}
        # Masked slots are multiplied by zero, which must not meet infinity or NaN.
        for tensor in (cache.keys, cache.values):
            tensor[..., cache.length :, :].zero_()

    def __call__(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], which the next step overwrites."""
        logits = self.launch(token_id, self._cache.length)
        self._cache.length += 1
        return logits

    def launch(self, token_id: Tensor, position: int) -> Tensor:
        """Launch the step of a token [1] into cache slot ``position`` without synchronizing or committing it.

        Returns:
            The next token's logits [1, vocab_size], which the next step overwrites.
        """
        self._token.copy_(token_id)
        self._position.fill_(position)
        bucket = min(bucket_of(position + 1), self._cache.capacity)
        if bucket in self._calls:
            self._calls[bucket]()
        else:
            self._calls[bucket] = self._enter(bucket)
        return self._logits

    def _enter(self, bucket: int) -> Call:
        """Take the first step in a bucket with each implementation that is left; return the fastest one's call.

        A step may be repeated at will, as it always writes to the same slot.
        """
        plain = self._bind(TorchStep, bucket)
        plain()
        expected = self._logits.clone()  # [1, vocab_size]
        calls: dict[type[DecodeStep], Call] = {TorchStep: self._record_plain(plain, expected)}
        for step in self._faster:
            with fall_back_with_warning(f"use {step.name}"):
                calls[step] = self._prepare(step, bucket, expected)
        chosen = self._fastest(calls) if len(calls) > 1 else TorchStep
        self._faster = [step for step in self._faster if step is chosen]
        self._logits.copy_(expected)
        return calls[chosen]

    def _bind(self, step: type[DecodeStep], bucket: int) -> Call:
        def call() -> None:
            take = step(self._model, self._cache, self._position, bucket)
            self._logits.copy_(take(self._token))

        return call

    def _prepare(self, step: type[DecodeStep], bucket: int, expected: Tensor) -> Call:
        call = self._bind(step, bucket)
        with self._timed("compile"):
            self._check(call, expected)
        return self._record(call, expected)

    def _record_plain(self, call: Call, expected: Tensor) -> Call:
        with fall_back_with_warning("be captured as a CUDA graph"):
            return self._record(call, expected)
        self._capture = None
        return call

    def _record(self, call: Call, expected: Tensor) -> Call:
        """Capture ``call`` and return its replay, or ``call`` itself where nothing is captured."""
        if self._capture is None:
            return call
        with self._timed("capture"):
            replay = self._capture(call)
            self._check(replay, expected)
        return replay

    def _check(self, call: Call, expected: Tensor) -> None:
        """Repeat the step with ``call`` and compare its logits.

        Raises:
            RuntimeError: when they differ by more than rounding explains.
        """
        self._logits.zero_()
        call()
        deviation, largest = (self._logits - expected).abs().max(), expected.abs().max()
        if not deviation <= _TOLERANCE * largest:
            raise RuntimeError("it gives other logits")

    def _fastest(self, calls: Mapping[type[DecodeStep], Call]) -> type[DecodeStep]:
        with self._timed("capture"):
            times_s = {step: best_s(partial(self._run_synchronously, call)) for step, call in calls.items()}
        results = (f"{seconds * 1e3:.3f} ms with {step.name}" for step, seconds in times_s.items())
        logger.info("a decode step takes %s", ", ".join(results))
        return min(times_s, key=times_s.__getitem__)

    def _run_synchronously(self, call: Call) -> None:
        call()
        # Reading a value waits for the device.
        self._logits[0, 0].item()

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.prepared_s[name] = self.prepared_s.get(name, 0.0) + time.perf_counter() - start


@contextmanager
def fall_back_with_warning(action: str) -> Iterator[None]:
    """Turn any error of ``action`` into a warning: ``TorchStep`` without a graph always works."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - compilers raise what they like
        # The compiler's errors name it in the first line and say what happened in the second.
        reason = " ".join(str(error).replace("raised:\n", "raised ").split("\n", 1)[0].split())
        logger.warning("the decode step cannot %s (%s): it runs slower, with the same tokens", action, reason)


def faster_steps(model: LanguageModel, *, kernels: bool, compiled: bool) -> list[type[DecodeStep]]:
    """List the implementations that may be faster than ``TorchStep``.

    Args:
        model: whose steps they take.
        kernels: whether Triton kernels may be used.  They pay off only where steps are captured: launching one from
            Python takes longer than launching one of torch's.
        compiled: whether torch's compiler may be used, which takes from seconds to a minute.
    """
    steps: list[type[DecodeStep]] = [CompiledStep] if compiled else []
    if kernels and triton_serves(model.norm.weight.device, model.config.head_dim):
        from vita_demo.model.decode.triton_step import CompiledTritonStep, TritonStep

        steps += [TritonStep, CompiledTritonStep] if compiled else [TritonStep]
    return steps


def triton_serves(device: torch.device, head_dim: int) -> bool:
    """Tell whether Triton is installed and the kernels work on this device and for heads this wide."""
    try:
        from triton import knobs
    except ImportError:
        return False
    # Blocks have sizes of powers of two, and a matrix product has at least 16 columns.
    fits = head_dim >= 16 and head_dim & (head_dim - 1) == 0
    return fits and (device.type == "cuda" or knobs.runtime.interpret)
