"""Values that the scripts take and answer with: entries of the working set, activity, outcomes.

All of them are frozen; times are named with their unit, and which clock they come from is said where it matters:
Redis' own clock for everything that is compared across machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, NamedTuple, NewType

from jobworker.errors import MalformedPayload
from jobworker.protocol.number_sets import Chunks

WorkerId = NewType("WorkerId", str)
Epoch = NewType("Epoch", str)
Number = NewType("Number", int)

Side = Literal["front", "back"]

QUIET_SIGNAL = "SIGTSTP"
"""What a worker's record says while it is quiet by that signal: a word of the process itself, which ends with it."""


class Entry(NamedTuple):
    """A job that a worker holds: its number in the working set, its queue, when it was taken, its bytes.

    ``taken_ms`` is Redis' clock in milliseconds. A tuple, since one is made for every job.
    """

    number: Number
    queue: str
    taken_ms: int
    payload: bytes

    @classmethod
    def parse(cls, number: bytes | int, value: bytes) -> Entry:
        """Read a field of the working set.

        Raises:
            MalformedPayload: the entry was not written by the take script.
        """
        try:
            head, payload = value.split(b"\n", 1)
            taken, queue = head.split(b" ", 1)
            return cls(Number(int(number)), queue.decode(), int(taken), payload)
        except ValueError as error:
            raise MalformedPayload(f"entry {number!r} of a working set is not one of take's: {value[:80]!r}") from error


@dataclass(frozen=True, slots=True)
class Taken:
    """What a take brought. ``quiet`` is the reason where the worker is quiet, and then there are no entries.

    ``unreadable`` are queues of which nothing can be taken: a key of another type stands where theirs should.
    """

    entries: tuple[Entry, ...] = ()
    quiet: str | None = None
    unreadable: tuple[str, ...] = ()


class Outcome(Enum):
    """How a job ended."""

    OK = "ok"
    FAILED = "failed"
    """It raised, and is kept nowhere (``retry: false``)."""
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a held job of ``queue``. ``score`` (epoch seconds) and ``payload`` are for the retry and dead set.

    ``announced``: of a job that failed for good, ``payload`` is also a notice for death handlers; a retry is due so
    soon that whoever sleeps until the next one shall hear of it.
    """

    number: Number
    queue: str
    outcome: Outcome = Outcome.OK
    score: float = 0.0
    payload: bytes = b""
    announced: bool = False


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A held job that goes back to its queue; ``front`` is where it would be taken next."""

    number: Number
    queue: str
    payload: bytes
    side: Side = "front"


@dataclass(frozen=True, slots=True)
class FinishAnswer:
    """``lost`` is how many were not held any more: somebody else has those jobs, or Redis knew of their end."""

    lost: int = 0
    taken: Taken = Taken()


@dataclass(frozen=True, slots=True)
class DoneIds:
    """Ids of one kind that are done: numbers as chunks of a set, and texts."""

    kind: str
    numbers: Chunks = ()
    texts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How much there is to write."""
        return len(self.numbers) + len(self.texts)


@dataclass(frozen=True, slots=True)
class Progress:
    """What an iterating job adds to its progress since the last checkpoint, and its totals.

    ``processed`` rows are done: the first ones, failed ones included. ``failed_rows`` are chunks of the set of rows
    with errors, ``errors`` all messages by row; ``rate`` is in rows a second, None where nobody knows yet.
    """

    processed: int = 0
    failed: int = 0
    total: int | None = None
    errors: tuple[tuple[int, tuple[str, ...]], ...] = ()
    failed_rows: Chunks = ()
    done: tuple[DoneIds, ...] = ()
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A cursor to go on from. ``cursor`` is JSON; ``executions`` counts runs of the job, this one included.

    ``progress`` is None where nothing is new. ``tries`` is how often the item behind the cursor has raised so far,
    ``age_seconds`` how long ago everything was safe by this checkpoint: since when an item is in work.
    """

    cursor: bytes
    executions: int
    run_seconds: float
    progress: Progress | None = None
    tries: int = 0
    age_seconds: float = 0.0

    def without_done(self) -> Checkpoint:
        """The same for when its ids are written already: their kinds are named, so that they live on."""
        if self.progress is None:
            return self
        kinds = tuple(DoneIds(each.kind) for each in self.progress.done)
        return replace(self, progress=replace(self.progress, done=kinds))


class Wish(Enum):
    """What somebody wants of an iterating job. A cancelled job is over, whatever else is wanted of it."""

    NONE = "none"
    CANCEL = "cancel"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class IterationState:
    """Where an iterating job stands: None as cursor if it never wrote one. Sidekiq's ``it-<jid>``, and ``paused``."""

    cursor: bytes | None = None
    executions: int = 0
    run_seconds: float = 0.0
    cancelled: bool = False
    paused: bool = False
    tries: int = 0

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> IterationState:
        """Read its hash. A state without a cursor (cancelled before its first run) is tolerated."""
        return cls(
            cursor=fields.get(b"c"),
            executions=int(fields.get(b"ex", b"0")),
            run_seconds=float(fields.get(b"rt", b"0")),
            cancelled=b"cancelled" in fields,
            paused=b"paused" in fields,
            tries=int(fields.get(b"tries", b"0")),
        )

    @property
    def wish(self) -> Wish:
        """What is wanted of the job."""
        return wish_of(self.cancelled, self.paused)


def wish_of(cancelled: object, paused: object) -> Wish:
    """What two fields of the state say, each empty where nobody wrote it."""
    if cancelled:
        return Wish.CANCEL
    return Wish.PAUSE if paused else Wish.NONE


class DrainAnswer(Enum):
    """What ``confirm_drained`` found."""

    DRAINED = "DRAINED"
    CHECKPOINTED = "CHECKPOINTED"
    """It holds jobs, and each has a checkpoint that is young enough."""
    HELD = "HELD"
    RUNNING = "RUNNING"
    """Redis knows of no job, but the worker's last beat counted some."""
    REQUIETED = "REQUIETED"
    """The fact had been lost and was set again: the wait begins anew."""
    MOVED = "MOVED"
    """Another life of the worker than the one that was looked at."""


class RescueAnswer(Enum):
    """What ``rescue`` did."""

    OK = "OK"
    ALIVE = "ALIVE"
    """The worker lives; nothing was moved."""
    MOVED = "MOVED"
    """A new life has begun since; nothing was moved."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A worker as Redis sees it at one moment. ``epoch`` is None if it never registered or is gone.

    ``held`` counts entries of the working set, ``running`` is the process's own count from its last beat.
    ``beat_age_seconds`` and ``checkpoint_age_seconds`` are by Redis' clock; the latter is the age of the oldest
    checkpoint among the held jobs, None where a held job has none (0 when nothing is held).
    """

    worker: WorkerId
    epoch: Epoch | None
    alive: bool
    held: int
    quiet: str | None
    beat_age_seconds: float | None
    running: int
    concurrency: int
    checkpoint_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """A queue as Redis sees it: ``depth`` jobs, the oldest ``latency_seconds`` old (0 when empty).

    ``problem`` tells what stands at its key where that is no queue; it has no jobs then.
    """

    name: str
    depth: int
    latency_seconds: float
    paused: bool
    problem: str | None = None
