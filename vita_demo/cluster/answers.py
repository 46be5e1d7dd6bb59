"""Answers to many requests from a cluster, by Ray Data: what a batch asks instead of a pipeline."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.source import ModelSource
from vita_demo.cluster.connection import be_quiet
from vita_demo.cluster.pool import Pool, Share
from vita_demo.errors import GenerationError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.request import Request

_ROWS_OF_A_BLOCK, _MOST_BLOCKS = 4, 20_000
_DEFAULT_SLOTS = 8
_LOOK_S = 0.2


@dataclass(frozen=True)
class ClusterAnswers:
    """Answers requests on the cluster that this process is connected to.

    Attributes:
        source: the model; every machine must be able to read it.
        config: the model's.
        pool: how many copies of it there are.
        share: what each of them gets.
    """

    source: ModelSource
    config: VitaConfig
    pool: Pool
    share: Share

    def stream_many(
        self,
        requests: Iterable[Request],
        options: GenerationOptions,
        *,
        slots: int | None,
        signal: StopSignal,
        isolated: bool,  # noqa: ARG002 - files are always read in processes of their own
    ) -> Iterator[tuple[int, Event]]:
        """Yield the number of a request and the last event of its answer, as they come; see ``Pipeline.stream_many``.

        All requests are taken first.

        Raises:
            GenerationError: when the cluster gives up, or loses rows.
        """
        numbered = [*enumerate(requests)]
        missing = {number for number, _ in numbered}
        if not numbered:
            return
        dataset = self._dataset(numbered, options, slots)
        for number, event in _iterate(dataset, signal):
            # A machine that dies after it has answered may let a row come twice.
            if number in missing:
                missing.remove(number)
                yield number, event
        if missing and signal.reason is None:
            raise GenerationError(f"the cluster has lost {len(missing):,} rows; the same command does them again")

    def _dataset(self, numbered: list[tuple[int, Request]], options: GenerationOptions, slots: int | None) -> Any:
        """Describe the two stages; nothing runs yet."""
        import ray.data

        from vita_demo.cluster.stages import Answerer, pack, read_media

        be_quiet()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        rows = max(_ROWS_OF_A_BLOCK, len(numbered) // _MOST_BLOCKS)
        blocks = [pack(numbered[start : start + rows]) for start in range(0, len(numbered), rows)]
        # Twice as many rows as there are slots: half of them wait, so that no slot does.
        calls = max(2, -(-2 * (slots or _DEFAULT_SLOTS) // rows))
        copies = ray.data.ActorPoolStrategy(
            min_size=self.pool.least,
            max_size=self.pool.most,
            max_tasks_in_flight_per_actor=2 * calls,
            max_concurrent_calls_per_actor=calls,
            enable_true_multi_threading=True,
        )
        folder = str(Path.cwd())
        reading = {"config": self.config, "folder": folder}
        answering = {"source": self.source, "options": options, "slots": slots, "folder": folder}
        form: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
        # Where a copy has one core and no GPU either, Ray Data joins the two stages.
        read = ray.data.from_arrow(blocks).map_batches(read_media, fn_kwargs=reading, num_cpus=1, **form)
        return read.map_batches(
            Answerer,
            fn_constructor_kwargs=answering,
            compute=copies,
            num_cpus=self.share.cores,
            num_gpus=self.share.gpus,
            **form,
        )


def _iterate(dataset: Any, signal: StopSignal) -> Iterator[tuple[int, Event]]:
    """Yield what a dataset gives, and end soon when the signal is set, which a wait for Ray would not notice."""
    results: SimpleQueue[list[tuple[int, Event]] | BaseException | None] = SimpleQueue()
    left = threading.Event()
    threading.Thread(target=_collect, args=(dataset, results, left), name="vita-demo cluster", daemon=True).start()
    try:
        while signal.reason is None:
            try:
                rows = results.get(timeout=_LOOK_S)
            except Empty:
                continue
            if rows is None:
                return
            if isinstance(rows, BaseException):
                message = f"the cluster gave up ({_reason(rows)}); the same command goes on from there"
                raise GenerationError(message) from rows
            yield from rows
    finally:
        left.set()


def _collect(dataset: Any, results: "SimpleQueue[Any]", left: threading.Event) -> None:
    """Run a dataset in a thread of its own until its end, or until its reader has left."""
    from vita_demo.cluster.stages import unpack

    try:
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            results.put(unpack(table))
            if left.is_set():
                break
        results.put(None)
    except BaseException as error:  # noqa: BLE001 - it is raised where rows are waited for
        results.put(error)


def _reason(error: BaseException) -> str:
    """Return the last line of what Ray says, which is the cause."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
