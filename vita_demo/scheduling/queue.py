"""The jobs that wait for a slot: in turn between their owners, so that nobody waits for all requests of another."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from threading import Lock

from vita_demo.errors import QueueFullError
from vita_demo.scheduling.job import Job


class FairQueue:
    """A bounded queue, safe to use from several threads.

    Args:
        limit: the most jobs that wait; None is no limit.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._lock = Lock()
        # The owner whose turn is next comes first.
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()

    def __len__(self) -> int:
        """Number of jobs that wait."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def put(self, job: Job) -> None:
        """Add a job behind those of its owner.

        Raises:
            QueueFullError: when as many wait as may.
        """
        with self._lock:
            waiting = sum(map(len, self._waiting.values()))
            if self.limit is not None and waiting >= self.limit:
                raise QueueFullError(f"{waiting} requests wait already; try again later")
            self._waiting.setdefault(job.owner, deque()).append(job)

    def get(self) -> Job | None:
        """Take the job whose turn it is; None when none waits."""
        with self._lock:
            if not self._waiting:
                return None
            owner, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[owner] = jobs
            return job

    def __iter__(self) -> Iterator[Job]:
        """Iterate over those that wait now, in the order in which they have their turn."""
        with self._lock:
            turns = [
                (round_, owner, job)
                for owner, jobs in enumerate(self._waiting.values())
                for round_, job in enumerate(jobs)
            ]
        return iter([job for *_, job in sorted(turns, key=lambda turn: turn[:2])])

    def place(self, job: Job) -> int | None:
        """Return how many jobs have their turn before this one; None when it does not wait."""
        return next((place for place, each in enumerate(self) if each is job), None)

    def take_cancelled(self) -> list[Job]:
        """Take out the jobs whose signal was set while they waited."""
        with self._lock:
            cancelled = [job for jobs in self._waiting.values() for job in jobs if job.signal.reason]
            if cancelled:
                kept = {owner: deque(j for j in jobs if j not in cancelled) for owner, jobs in self._waiting.items()}
                self._waiting = OrderedDict((owner, jobs) for owner, jobs in kept.items() if jobs)
        return cancelled
