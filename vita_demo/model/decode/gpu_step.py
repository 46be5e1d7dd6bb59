"""One decode step whose shapes and addresses never change, so that a CUDA graph can replay it or a compiler fuse it.

Token and position are read from the device, and attention may read one bucket of the cache: 512 positions, 1,024,
2,048, and so on.  A bucket is only a view, so a longer answer takes another graph and copies nothing.
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
from vita_demo.model.decode.step_ways import StepWay, faster_ways, plain_way, read_token
from vita_demo.model.language_model import KVCache, LanguageModel
from vita_demo.model.ops.timing import best_s

logger = logging.getLogger("vita_demo.model")

FIRST_BUCKET = 512
# Of the largest logit: what kernels that are chosen anew, and other ways to take a step, may differ by.
_TOLERANCE = 0.1


def bucket_of(positions: int) -> int:
    """Return the size of the smallest bucket that holds so many positions."""
    return max(FIRST_BUCKET, 1 << (positions - 1).bit_length())


class BucketStep:
    """Reads one token after those in the cache, in the fastest of the ways that this machine offers.

    Args:
        model: on any device.
        cache: the generation's; it may be truncated between steps.
        capture: turns a call into one that replays it; None runs each step operation by operation.
        compiled: let torch's compiler fuse the operations, which takes seconds at the first step.
        kernels: try the package's own kernels where steps are captured.
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
        self._model, self._cache, self._capture = model, cache, capture
        keys = cache.keys
        # Each by itself: kernels were compiled for addresses that are multiples of 16.
        self._token, self._position = (torch.zeros(1, dtype=torch.long, device=keys.device) for _ in range(2))
        self._logits = keys.new_empty(1, model.config.vocab_size)
        self._plain = plain_way(model.config)
        self._faster = faster_ways(model, kernels=kernels and capture is not None, compiled=compiled)
        self._calls: dict[int, Call] = {}
        # What is masked is read too, and nothing times infinity is no number.
        for tensor in (cache.keys, cache.values):
            tensor[..., cache.length :, :].zero_()

    def __call__(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], which the next step overwrites."""
        logits = self.launch(token_id, self._cache.length)
        self._cache.length += 1
        return logits

    def launch(self, token_id: Tensor, position: int) -> Tensor:
        """Begin to read one token [1] into ``position``, which does not count as filled by that; see ``__call__``."""
        self._token.copy_(token_id)
        self._position.fill_(position)
        bucket = min(bucket_of(position + 1), self._cache.capacity)
        if bucket in self._calls:
            self._calls[bucket]()
        else:
            self._calls[bucket] = self._begin(bucket)
        return self._logits

    def _run(self, way: StepWay, bucket: int) -> None:
        self._logits.copy_(read_token(way, self._model, self._cache, self._token, self._position, bucket))

    def _begin(self, bucket: int) -> Call:
        """Take the first step in a bucket in every way that is left, and return what takes the others: the fastest.

        The same step may be taken again and again: it always writes to the same place.
        """
        plain = partial(self._run, self._plain, bucket)
        plain()
        expected = self._logits.clone()
        calls = {self._plain: self._record_plain(plain, expected)}
        for way in self._faster:
            with _or_told(f"use {way.name}"):
                calls[way] = self._prepare(way, bucket, expected)
        chosen = self._fastest(calls) if len(calls) > 1 else self._plain
        self._faster = [way for way in self._faster if way is chosen]
        self._logits.copy_(expected)
        return calls[chosen]

    def _prepare(self, way: StepWay, bucket: int, expected: Tensor) -> Call:
        call = partial(self._run, way, bucket)
        with self._timed("compile"):
            self._check(call, expected)
        return self._record(call, expected)

    def _record_plain(self, call: Call, expected: Tensor) -> Call:
        with _or_told("be captured as a CUDA graph"):
            return self._record(call, expected)
        self._capture = None
        return call

    def _record(self, call: Call, expected: Tensor) -> Call:
        """Return a replay of ``call`` that gives the same, or ``call`` itself where nothing is captured."""
        if self._capture is None:
            return call
        with self._timed("capture"):
            replay = self._capture(call)
            self._check(replay, expected)
        return replay

    def _check(self, call: Call, expected: Tensor) -> None:
        """Take the last step once more, and see whether that gives the same logits."""
        self._logits.zero_()
        call()
        deviation, largest = (self._logits - expected).abs().max(), expected.abs().max()
        if not deviation <= _TOLERANCE * largest:
            raise RuntimeError("it gives other logits")

    def _fastest(self, calls: Mapping[StepWay, Call]) -> StepWay:
        with self._timed("capture"):
            times_s = {way: best_s(partial(self._finish, call)) for way, call in calls.items()}
        found = (f"{seconds * 1e3:.3f} ms with {way.name}" for way, seconds in times_s.items())
        logger.info("a decode step takes %s", ", ".join(found))
        return min(times_s, key=times_s.__getitem__)

    def _finish(self, call: Call) -> None:
        """Take a step and wait for its logits, which reading one of them does."""
        call()
        self._logits[0, 0].item()

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._model.prepared_s[name] += time.perf_counter() - start


@contextmanager
def _or_told(what: str) -> Iterator[None]:
    """Go on where compiling or capturing fails: there is always the plain way."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - compilers raise what they like
        # The compiler's errors name it in the first line and say what happened in the second.
        reason = " ".join(str(error).replace("raised:\n", "raised ").split("\n", 1)[0].split())
        logger.warning("the decode step cannot %s (%s): it runs slower, with the same tokens", what, reason)
