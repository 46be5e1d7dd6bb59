"""Runs every decode path of a device on random weights, and compares its logits with the plain path's."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Literal

import torch

from vita_demo.checkpoint.shapes import read_shape
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.doctor.decode_paths import PLAIN, DecodePath, LeftOutError, Maker, modules, paths_of
from vita_demo.commands.doctor.devices import describe_processor
from vita_demo.commands.doctor.software import versions
from vita_demo.engine.device import (
    configure,
    copy_bandwidth_bytes_per_s,
    resolve_device,
    resolve_dtype,
    synchronizer,
)
from vita_demo.engine.threads import use_threads
from vita_demo.model.decode.agreement import TOLERANCE, deviation
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.loading.random_weights import make_language_model
from vita_demo.model.quantize.replace import weights_bytes

SCHEMA_VERSION = 1
# By how much logits may differ in float32, as a share of the largest: what rounding explains.
_FLOAT32_TOLERANCE = 1e-3
_MEASURE_S = 0.5
# No path has read a prompt of these lengths before.
_NEW_LENGTHS = 320

State = Literal["agrees", "differs", "failed", "left out"]


@dataclass(frozen=True)
class PathResult:
    """What became of one path; None is what was not measured.

    Attributes:
        path: its name.
        state: "agrees", "differs", "failed" or "left out".
        reason: why it failed or was left out.
        difference: of its logits from the plain path's, the largest, as a share of the largest logit.
        tolerance: what the difference may be.
        pass_s: the fastest pass; see ``DecodePath.read_once``.
        bandwidth_fraction: bytes that a pass must read, a second, as a share of what the device copies.
        kernels: kernels of one pass, copies included; GPUs only.
        first_prefill_s: a prompt of a length that nobody had read before.
        prefill_s: the same prompt again.
    """

    path: str
    state: State
    reason: str | None = None
    difference: float | None = None
    tolerance: float | None = None
    pass_s: float | None = None
    bandwidth_fraction: float | None = None
    kernels: int | None = None
    first_prefill_s: float | None = None
    prefill_s: float | None = None

    @property
    def is_fine(self) -> bool:
        """Whether it agrees, or is not offered here."""
        return self.state in ("agrees", "left out")


@dataclass(frozen=True)
class Subject:
    """What is tested.

    Attributes:
        shape: its name.
        device: where.
        dtype: of the weights.
    """

    shape: str
    device: torch.device
    dtype: torch.dtype

    def to_dict(self) -> dict[str, str]:
        """Return it as written to JSON."""
        return {"shape": self.shape, "device": str(self.device), "dtype": str(self.dtype).removeprefix("torch.")}


@dataclass(frozen=True)
class SelfTest:
    """A test of all paths.

    Attributes:
        subject: what is tested.
        host: the machine and its software.
        copy_bytes_per_s: what the device copies, bytes read and written together.
        results: in the order in which the paths were tested.
    """

    subject: Subject
    host: dict[str, Any]
    copy_bytes_per_s: float
    results: list[PathResult] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """No path differs or fails."""
        return all(result.is_fine for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as written to JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "agrees": self.agrees,
            **self.subject.to_dict(),
            "host": self.host,
            "copy_bandwidth_bytes_per_s": self.copy_bytes_per_s,
            "paths": [asdict(result) for result in self.results],
        }


def choose_subject(source: ModelSource, shape: str | None) -> Subject:
    """Take device and dtype of ``source``, and by default the shape that the device has time and memory for.

    Raises:
        InputError: when the device is absent.
    """
    device = resolve_device(source.device)
    shape = shape or ("vita15" if device.type == "cuda" else "tiny")
    parameters = weights_bytes(read_shape(shape), None, item_bytes=1)
    return Subject(shape, device, resolve_dtype(source.dtype, "bfloat16", device, parameters))


def begin_self_test(subject: Subject) -> SelfTest:
    """Describe and measure the device, before any path is tested."""
    configure(subject.device)
    if subject.device.type == "cpu":
        use_threads()
    host = {**versions(), **describe_processor(subject.device)}
    return SelfTest(subject, host, copy_bandwidth_bytes_per_s(subject.device))


@torch.inference_mode()
def run_self_test(test: SelfTest, show: Callable[[PathResult], object], debug: bool = False) -> None:
    """Test one path after the other; one that fails stops none of the others.

    Args:
        test: takes the results.
        show: gets each result at once: what is measured is not lost when a later path hangs.
        debug: raise the first error.
    """
    subject = test.subject
    model = make_language_model(read_shape(subject.shape), subject.device, subject.dtype)
    lengths = count(_NEW_LENGTHS)
    for name, make in paths_of(subject.device).items():
        try:
            result = _test(name, make, model, next(lengths), test)
        except LeftOutError as error:
            result = PathResult(name, "left out", str(error))
        except Exception as error:
            if debug:
                raise
            text = str(error).strip().partition("\n")[0]
            result = PathResult(name, "failed", f"{type(error).__name__}: {text}".removesuffix(": "))
        test.results.append(result)
        show(result)


def _test(name: str, make: Maker, model: LanguageModel, new_length: int, test: SelfTest) -> PathResult:
    with _Warnings() as warnings:
        path = make(model)
        logits = path.logits()
    if warnings.texts:
        # What answers then is a fallback, which has a row of its own.
        return PathResult(name, "failed", warnings.texts[0])
    difference = 0.0 if name == PLAIN else deviation(logits, modules(model).logits())
    # torch's kernels for quantized weights round the activations to bfloat16, whatever the model's dtype.
    exact = test.subject.dtype == torch.float32 and path.model.quantize is None
    tolerance = _FLOAT32_TOLERANCE if exact else TOLERANCE
    wait = synchronizer(test.subject.device)
    pass_s = _best_s(path.read_once, wait)
    bandwidth_fraction = path.read_bytes / pass_s / test.copy_bytes_per_s
    kernels = _count_kernels(path, wait) if test.subject.device.type == "cuda" else None
    first_s, again_s = (_seconds(lambda: path.read_prompt(new_length), wait) for _ in range(2))
    # NaN is no agreement either.
    state: State = "agrees" if difference <= tolerance else "differs"
    return PathResult(name, state, None, difference, tolerance, pass_s, bandwidth_fraction, kernels, first_s, again_s)


def _seconds(call: Callable[[], object], wait: Callable[[], None]) -> float:
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def _best_s(call: Callable[[], object], wait: Callable[[], None]) -> float:
    """Return the seconds of the fastest of several calls, which take half a second together."""
    times = [_seconds(call, wait) for _ in range(3)]
    end = time.perf_counter() + _MEASURE_S
    while time.perf_counter() < end:
        times.append(_seconds(call, wait))
    return min(times)


def _count_kernels(path: DecodePath, wait: Callable[[], None]) -> int | None:
    """Count what runs on the GPU in one pass; None where its profiler tells nothing."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        path.read_once()
        wait()
    return sum(row.count for row in found.key_averages() if row.device_type.name == "CUDA") or None


class _Warnings(logging.Handler):
    """Collects the package's warnings, which say that something fell back."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the message."""
        self.texts.append(record.getMessage())

    def __enter__(self) -> "_Warnings":
        logging.getLogger("vita_demo").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("vita_demo").removeHandler(self)
