"""Decides what the model does next, so that several answers are made at once: continuous batching, chunked prefill.

One turn admits whoever has a slot to go to, reads one piece of one prompt, and takes one step for all that are being
answered.  So a running answer waits for at most one piece between two of its tokens, and a new one waits for the
prompts before it and not for the answers.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vita_demo.answer import FinishReason
from vita_demo.generation.events import Sampled
from vita_demo.scheduling.job import Job, Slots, Work
from vita_demo.scheduling.pace import Pace
from vita_demo.scheduling.queue import FairQueue
from vita_demo.scheduling.reading import Key, whole_units


@dataclass(frozen=True)
class _Held:
    """What a free slot has of earlier answers, and when it was used last."""

    owner: str = ""
    keys: tuple[Key, ...] = ()
    used: int = 0


@dataclass
class _Seat:
    """A job in its slot.

    Attributes:
        token: the id whose step it needs; None while it reads its prompt.
    """

    job: Job
    slot: int
    work: Work
    token: int | None = None


class Scheduler:
    """Makes the answers of the jobs in ``queue``; call ``turn`` as long as it is ``busy``.

    Args:
        slots: caches, all empty.
        limit: the most jobs that wait for a slot; None is no limit.

    Attributes:
        queue: jobs that wait; may be filled from other threads.
    """

    def __init__(self, slots: Slots, limit: int | None = None) -> None:
        self.queue = FairQueue(limit)
        self._slots = slots
        self._free = {slot: _Held() for slot in range(slots.count)}
        self._reading: deque[_Seat] = deque()
        self._answering: list[_Seat] = []
        self._pace = Pace()
        self._turns = 0

    @property
    def seated(self) -> list[Job]:
        """Jobs that have a slot."""
        return [seat.job for seat in (*self._reading, *self._answering)]

    @property
    def reads(self) -> bool:
        """Whether the next turn reads a piece of a prompt, which may take long."""
        return bool(self._reading or (self._free and len(self.queue)))

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._answering or self._reading or len(self.queue))

    @torch.inference_mode()
    def turn(self) -> None:
        """Admit, read one piece, and take one step; the jobs hand out their own events."""
        self._turns += 1
        for job in self.queue.take_cancelled():
            job.end_unread()
        while self._free and (next_job := self.queue.get()) is not None:
            try:
                self._admit(next_job)
            except Exception as error:  # noqa: BLE001 - the job's reader gets it
                next_job.fail(error)
        if self._reading:
            self._pace.shared = bool(self._answering)
            self._read(self._reading[0])
        if self._answering:
            self._step()

    def cancel_all(self, reason: FinishReason) -> None:
        """End every answer after its current token; ``turn`` until nothing is ``busy`` to see their ends."""
        for job in (*self.seated, *self.queue):
            job.signal.request(reason)

    def end_all(self, error: Exception) -> None:
        """End every job with an error, those that wait too."""
        for seat in (*self._reading, *self._answering):
            self._fail(seat, error)
        self._reading.clear()
        self._answering.clear()
        while (waiting := self.queue.get()) is not None:
            waiting.fail(error)

    def _admit(self, job: Job) -> None:
        slot, known = self._choose(job)
        del self._free[slot]
        self._slots.truncate(slot, known)
        self._reading.append(_Seat(job, slot, job.run(self._slots, slot, self._pace)))

    def _choose(self, job: Job) -> tuple[int, int]:
        """Choose the slot whose text the job continues, else the one that was not used for the longest time.

        Returns:
            The slot, and how many of its positions stay.
        """
        shared = {
            slot: job.reading.shared(held.keys) if held.owner == job.owner else 0 for slot, held in self._free.items()
        }
        longest = max(shared, key=lambda slot: shared[slot])
        # What shares little, such as only the system prompt, is somebody's other conversation.
        if 2 * shared[longest] < self._slots.length(longest) or not shared[longest]:
            longest = min(self._free, key=lambda slot: (self._free[slot].used, slot))
        return longest, shared[longest]

    def _read(self, seat: _Seat) -> None:
        if seat.job.signal.reason is not None:
            seat.work.close()
            seat.job.end_unread()
            self._reading.popleft()
            self._release(seat)
        elif not self._advance(seat):
            self._reading.popleft()
        elif seat.token is not None:
            self._answering.append(self._reading.popleft())

    def _step(self) -> None:
        seats = [seat for seat in self._answering if not seat.job.signal.reason or self._advance(seat)]
        self._answering = []
        if not seats:
            return
        try:
            with self._pace.timing("step"):
                ids = torch.tensor([seat.token for seat in seats])  # [B]
                logits = self._slots.step([seat.slot for seat in seats], ids)  # [B, vocab_size]
                tokens = _sample([seat.job for seat in seats], logits)
        except Exception as error:  # noqa: BLE001 - each job's reader gets it
            for seat in seats:
                self._fail(seat, error)
            return
        self._answering = [seat for seat, token in zip(seats, tokens, strict=True) if self._advance(seat, token)]

    def _advance(self, seat: _Seat, token: Sampled | None = None) -> bool:
        """Let a job go on with the token that it waits for, if it waits for one; tell whether it has not ended."""
        try:
            seat.token = next(seat.work) if token is None else seat.work.send(token)
        except StopIteration:
            self._release(seat)
            return False
        except Exception as error:  # noqa: BLE001 - the job's reader gets it
            self._fail(seat, error)
            return False
        return True

    def _fail(self, seat: _Seat, error: Exception) -> None:
        seat.work.close()
        seat.job.fail(error)
        self._slots.truncate(seat.slot, 0)
        self._free[seat.slot] = _Held(used=self._turns)

    def _release(self, seat: _Seat) -> None:
        """Free a seat's slot; what it has stays for whoever continues it."""
        reading, slot = seat.job.reading, seat.slot
        units, positions = whole_units(reading, self._slots.length(slot))
        self._slots.truncate(slot, positions)
        self._free[slot] = _Held(seat.job.owner, seat.job.keys[:units], self._turns)


def _sample(jobs: Sequence[Job], logits: torch.Tensor) -> list[Sampled]:
    """Sample the next token of each job from its row of the logits [B, vocab_size]."""
    if all(job.greedy for job in jobs):
        return [Sampled(token_id) for token_id in logits.argmax(dim=-1).tolist()]
    return [job.choose(logits[row : row + 1]) for row, job in enumerate(jobs)]
