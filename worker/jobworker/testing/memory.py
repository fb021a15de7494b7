"""What lies in Redis, in memory: jobs that wait, scheduled ones, those to be tried again, the dead.

Payloads are kept as the bytes that would travel, and read anew each time, so that a job sees what a worker would.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobworker.protocol import payload as payloads
from jobworker.protocol.control import ControlAnswer, Standing, Wanted
from jobworker.protocol.payload import JobId, Payload
from jobworker.protocol.records import Wish
from jobworker.protocol.slices import Splitting, joined, slice_jid
from jobworker.testing.clock import FakeClock
from jobworker.testing.keeper import Places

_WISHES = {Wanted.CANCEL: Wish.CANCEL, Wanted.PAUSE: Wish.PAUSE, Wanted.RESUME: Wish.NONE}


@dataclass(frozen=True, slots=True)
class EnqueuedJob:
    """A job as a worker would get it. ``at`` is when it is due, None for one that was due at once."""

    payload: Payload
    at: datetime | None = None

    @classmethod
    def read(cls, raw: bytes, due: float | None = None) -> EnqueuedJob:
        """Read it from its bytes; ``due`` in epoch seconds."""
        return cls(payloads.parse(raw), None if due is None else time_of(due))

    @property
    def name(self) -> str:
        """The name of the job: what payloads carry in ``class``."""
        return self.payload.job_class

    @property
    def args(self) -> list[Any]:
        """Its arguments, as they come out of JSON."""
        return list(self.payload.args)

    @property
    def queue(self) -> str:
        """Its queue."""
        return self.payload.queue

    @property
    def jid(self) -> JobId:
        """What names this one job."""
        return self.payload.jid

    @property
    def attempt(self) -> int:
        """The number of its next run: 1 for one that never failed."""
        count = self.payload.retry_count
        return 1 if count is None else count + 2

    @property
    def error(self) -> str | None:
        """Class and message of its last error; None for one that never failed."""
        kind = self.payload.extra.get("error_class")
        return None if kind is None else f"{kind}: {self.payload.extra.get('error_message')}"

    def __str__(self) -> str:
        call = f"{self.name}({', '.join(map(repr, self.args))}) on {self.queue}"
        due = "" if self.at is None else f", due at {self.at:%Y-%m-%d %H:%M:%S %Z}"
        failed = "" if self.error is None else f", after {self.error}"
        return call + due + failed


@dataclass(slots=True)
class _Later:
    due: float
    raw: bytes
    retry: bool


@dataclass(slots=True)
class Slices:
    """The slices of one job: how it was split, and which of them have ended."""

    made: Splitting
    left: set[int]
    cancelled: set[int] = field(default_factory=set)

    def jids(self, whole: str) -> list[JobId]:
        """Those of all slices, in their order."""
        return [slice_jid(whole, number) for number in range(len(self.made.slices))]


class Memory:
    """Takes payloads in as Redis does. Safe to use from several threads."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.enqueued: list[EnqueuedJob] = []
        self.dead: list[EnqueuedJob] = []
        self.discarded: list[EnqueuedJob] = []
        self.places = Places()
        self.slices: dict[str, Slices] = {}
        self.running: dict[JobId, bool] = {}  # whether it iterates, by the jid
        self.over: set[JobId] = set()  # iterating jobs that have ended
        self._parked: dict[JobId, bytes] = {}
        self._waiting: deque[bytes] = deque()
        self._later: list[_Later] = []
        self._lock = threading.RLock()

    def push(self, raw: Iterable[bytes]) -> None:
        """Payloads that are due now."""
        for each in raw:
            with self._lock:
                self.enqueued.append(EnqueuedJob.read(each))
                self._waiting.append(each)

    def schedule(self, due: float, raw: bytes) -> None:
        """A payload that is due at a time in epoch seconds."""
        with self._lock:
            self.enqueued.append(EnqueuedJob.read(raw, due))
            self._later.append(_Later(_on_clock(due), raw, retry=False))

    def retry(self, due: float, job: Payload) -> None:
        """A job that failed, to be tried again at a time in epoch seconds."""
        with self._lock:
            self._later.append(_Later(_on_clock(due), job.to_json(), retry=True))

    @property
    def waiting(self) -> list[EnqueuedJob]:
        """Jobs that could run now, the oldest first."""
        with self._lock:
            return [EnqueuedJob.read(raw) for raw in self._waiting]

    @property
    def scheduled(self) -> list[EnqueuedJob]:
        """Jobs that are due later, the next one first."""
        return self._due_later(retry=False)

    @property
    def retries(self) -> list[EnqueuedJob]:
        """Jobs that failed and are tried again, the next one first."""
        return self._due_later(retry=True)

    @property
    def paused(self) -> list[EnqueuedJob]:
        """Jobs that rest until they are resumed, those that do so longest first."""
        with self._lock:
            return [EnqueuedJob.read(raw) for raw in self._parked.values()]

    def park(self, job: Payload) -> None:
        """A job that was taken and shall rest; one that was resumed or cancelled meanwhile waits as the next one."""
        with self._lock:
            if self.places.wish(job.jid) is Wish.PAUSE:
                self._parked[job.jid] = job.to_json()
            else:
                self._waiting.appendleft(job.to_json())

    def give_back(self, job: Payload) -> None:
        """A job that was taken and makes room for others: the last one of those that wait."""
        with self._lock:
            self._waiting.append(job.to_json())

    def ask(self, jid: JobId, wanted: Wanted) -> ControlAnswer:
        """Cancel, pause or resume a job and its slices, as `jobworker.protocol.control.ask`."""
        answer = self._ask(jid, wanted)
        if answer.accepted and jid in self.slices:
            left = sorted(self.slices[jid].left)
            for number in left:
                self._ask(slice_jid(jid, number), wanted)
            dead = {job.jid for job in self.dead}
            for number in left:
                one = slice_jid(jid, number)
                if wanted is Wanted.CANCEL and one in dead:  # nobody else will tell of its end
                    self.places.end(one)
                    self.over.add(one)
                    self.slice_over(jid, number, cancelled=True)
        return answer

    def slice_over(self, whole: JobId, number: int, *, cancelled: bool) -> int:
        """A slice has ended. How many are left of its whole job; -1 where that is unknown by now."""
        known = self.slices.get(whole)
        if known is None:
            return -1
        if number in known.left:
            known.left.discard(number)
            if cancelled:
                known.cancelled.add(number)
            if not known.left and known.cancelled:
                self.places.want(whole, Wish.CANCEL)
                self.places.end(whole)
                self.over.add(whole)
            elif not known.left:
                self.push([joined(known.made, self.clock.seconds)])
        return len(known.left)

    def _ask(self, jid: JobId, wanted: Wanted) -> ControlAnswer:
        with self._lock:
            if jid in self._parked:
                if wanted is Wanted.PAUSE:
                    return ControlAnswer(jid, Standing.PAUSED, changed=False)
                job = payloads.parse(self._parked.pop(jid))
                self._waiting.appendleft(job.with_fields(enqueued_at=self.clock.seconds).to_json())
                self.places.want(jid, _WISHES[wanted])
                return ControlAnswer(jid, Standing.PAUSED)
            iterates = self.running.get(jid)
            if iterates is False:
                return ControlAnswer(jid, Standing.NOT_ITERATING, accepted=False, changed=False)
            if jid in self.over:
                return ControlAnswer(jid, Standing.OVER, accepted=False, changed=False)
            if self.places.wish(jid) is Wish.CANCEL:
                return ControlAnswer(jid, Standing.CANCELLED, wanted is Wanted.CANCEL, changed=False)
            changed = self.places.wish(jid) is not _WISHES[wanted]
            self.places.want(jid, _WISHES[wanted])
            return ControlAnswer(jid, Standing.WAITING if iterates is None else Standing.RUNNING, changed=changed)

    @property
    def next_due(self) -> float | None:
        """When the next of them is due, in epoch seconds."""
        with self._lock:
            return min((later.due for later in self._later), default=None)

    def promote(self) -> None:
        """What is due by now can run."""
        with self._lock:
            now = self.clock.seconds
            due = sorted((later for later in self._later if later.due <= now), key=lambda later: later.due)
            self._later = [later for later in self._later if later.due > now]
            for later in due:
                job = payloads.parse(later.raw)
                self._waiting.append(job.with_fields(enqueued_at=now).to_json())

    def take(self, wanted: Callable[[Payload], bool]) -> Payload | None:
        """The oldest job that waits and is wanted."""
        with self._lock:
            for raw in self._waiting:
                job = payloads.parse(raw)
                if wanted(job):
                    self._waiting.remove(raw)
                    return job
            return None

    def clear(self) -> None:
        """As if nothing had ever been enqueued."""
        with self._lock:
            for jobs in (self.enqueued, self.dead, self.discarded, self._waiting, self._later, self._parked, self.over):
                jobs.clear()
            self.slices.clear()
            self.places = Places()

    def _due_later(self, *, retry: bool) -> list[EnqueuedJob]:
        with self._lock:
            found = sorted((later for later in self._later if later.retry is retry), key=lambda later: later.due)
            return [EnqueuedJob.read(later.raw, later.due) for later in found]


def of_queues(queues: Collection[str] | None) -> Callable[[Payload], bool]:
    """Wants jobs of these queues; None for all."""
    return lambda job: queues is None or job.queue in queues


def time_of(seconds: float) -> datetime:
    """The time in UTC of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def _on_clock(seconds: float) -> float:
    # The clock counts microseconds: between two of them nothing could ever fall due.
    return time_of(seconds).timestamp()
