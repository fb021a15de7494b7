"""Cancel, pause and resume one iterating job from outside, wherever it is, and say how it stood.

What is wanted of a job lies in its iteration state, where Sidekiq's own cancel writes too. A job that rests lies in a
HASH of its own: nobody holds it, no queue counts it, and no death of any process can lose it.

What is asked outside is written as steps: see `jobworker.protocol.steps`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
from redis.asyncio import Redis

from jobworker.errors import ArgumentsNotJSON, MalformedPayload, NotHeld, StaleEpoch
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.lost_slices import settled
from jobworker.protocol.records import Entry, Epoch, WorkerId
from jobworker.protocol.scripts import STATE_SECONDS, Script
from jobworker.protocol.slices import slice_jid
from jobworker.protocol.steps import Command, Steps

PARK, UNPARK, WISH = Script("park"), Script("unpark"), Script("wish")

_SLICES_AT_ONCE = 500  # in one crossing
_ATTEMPTS = 20  # looks at a job that others move from one place to the next all the time


class Wanted(Enum):
    """What can be asked of an iterating job."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"


class Standing(Enum):
    """Where a job was when it was asked to cancel, pause or resume."""

    RUNNING = "running"
    """A worker holds it, and hears of it at once: it obeys after the item that it is at."""
    PAUSED = "paused"
    """It rested. Resumed or cancelled, it is now the first of its queue."""
    WAITING = "waiting"
    """Neither: it waits in a queue or for its time, or nobody knows it. A worker that takes it finds what was asked."""
    CANCELLED = "cancelled"
    """Somebody cancelled it before, which is final."""
    OVER = "over"
    """It has ended."""
    NOT_ITERATING = "not iterating"
    """It runs, and is no iterating job: it has no items after which it could stop."""


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    """How the job stood, and whether it obeys. ``changed`` is false where it was already as it was asked to be.

    ``worker`` is who holds it, if anybody does.
    """

    jid: str
    standing: Standing
    accepted: bool = True
    changed: bool = True
    worker: WorkerId | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """A job that rests: ``parked_at`` in epoch seconds of Redis' clock."""

    queue: str
    parked_at: float
    payload: bytes


def ask(keys: Keys, jid: str, wanted: Wanted) -> Steps[ControlAnswer]:
    """Ask one job, and behind it the slices of one that was split.

    RACE it is split meanwhile: either its slices are seen here, or its splitting finds what was asked.
    A cancelled job waits for no slice that cannot end by itself, since it is dead or was deleted by hand.
    """
    answer = yield from _ask_one(keys, jid, wanted)
    if answer.accepted:
        (known,) = yield [("HGETALL", keys.slices(jid))]
        left = [slice_jid(jid, int(field[1:])) for field, state in known.items() if state == b"left"]
        for at in range(0, len(left), _SLICES_AT_ONCE):
            yield from _ask_slices(keys, left[at : at + _SLICES_AT_ONCE], wanted)
        if left and wanted is Wanted.CANCEL:
            yield from settled(keys, jid, left)
    return answer


def _ask_slices(keys: Keys, jids: Sequence[str], wanted: Wanted) -> Steps[None]:
    for _ in range(_ATTEMPTS):
        parked = yield [("HGET", keys.parked, jid) for jid in jids]
        resting = wanted is Wanted.PAUSE
        asked = [(jid, raw) for jid, raw in zip(jids, parked, strict=True) if raw is None or not resting]
        if not asked:
            return
        outcomes = yield [
            _wish(keys, jid, wanted) if raw is None else _unpark(keys, jid, raw, cancel=wanted is Wanted.CANCEL)
            for jid, raw in asked
        ]
        # Those that were parked, or put back, since they were looked at.
        jids = [jid for (jid, _), outcome in zip(asked, outcomes, strict=True) if outcome in {b"PARKED", 0}]
        if not jids:
            return


def _wish(keys: Keys, jid: str, wanted: Wanted) -> Command:
    return _call(WISH, [keys.iteration(jid), keys.parked, keys.progress(jid)], [jid, wanted.value, STATE_SECONDS])


def _ask_one(keys: Keys, jid: str, wanted: Wanted) -> Steps[ControlAnswer]:
    """Ask one job.

    A job that others park and resume at the same time is asked again, so that the answer tells of one moment.
    """
    for _ in range(_ATTEMPTS):
        parked, workers = yield [("HGET", keys.parked, jid), ("SMEMBERS", keys.workers)]
        if parked is not None:
            if wanted is Wanted.PAUSE:
                return ControlAnswer(jid, Standing.PAUSED, changed=False)
            (moved,) = yield [_unpark(keys, jid, parked, cancel=wanted is Wanted.CANCEL)]
            if moved:
                return ControlAnswer(jid, Standing.PAUSED)
            continue
        holder = yield from _holder(keys, jid, [WorkerId(_text(worker)) for worker in sorted(workers)])
        if holder is not None and not holder.iterates:
            return ControlAnswer(jid, Standing.NOT_ITERATING, accepted=False, changed=False, worker=holder.worker)
        (outcome,) = yield [_wish(keys, jid, wanted)]
        if outcome != b"PARKED":
            return _answer(jid, wanted, outcome, holder)
    return ControlAnswer(jid, Standing.PAUSED, accepted=False, changed=False)


async def park(redis: Redis, keys: Keys, worker: WorkerId, epoch: Epoch, entry: Entry, jid: str) -> bool:
    """Lay a held job that shall rest aside, until it is resumed. False if it went back to its queue: it shall go on.

    Raises:
        StaleEpoch: this life of the worker has ended.
        NotHeld: the job has another holder by now, or an earlier call was carried out whose answer was lost.
    """
    names = [
        keys.record(worker), keys.working(worker), keys.checkpoints(worker), keys.inflight, keys.iteration(jid),
        keys.parked, keys.queue(entry.queue), keys.wake(entry.queue),
    ]  # fmt: skip
    (answer,) = await PARK(redis, names, [epoch, entry.number, jid, entry.queue, entry.payload])
    if answer == b"STALE":
        raise StaleEpoch("this life of the worker has ended as far as Redis knows; its jobs may have a new holder")
    if answer == b"NOT_HELD":
        raise NotHeld(f"job {jid} is not held by this worker {worker} any more")
    return bool(answer == b"PARKED")


def parked_jobs(keys: Keys) -> Steps[tuple[Parked, ...]]:
    """All jobs that rest, those that do so longest first."""
    (raw,) = yield [("HVALS", keys.parked)]
    return tuple(sorted((_parked(value) for value in raw), key=lambda job: job.parked_at))


@dataclass(frozen=True, slots=True)
class _Holder:
    worker: WorkerId
    iterates: bool


def _holder(keys: Keys, jid: str, workers: Sequence[WorkerId]) -> Steps[_Holder | None]:
    if not workers:
        return None
    commands: list[Command] = []
    for worker in workers:
        commands += (("HVALS", keys.working(worker)), ("HGET", keys.record(worker), "iterating"))
    answers = yield commands
    for worker, held, iterating in zip(workers, answers[::2], answers[1::2], strict=True):
        name = _class_of(jid, held)
        if name is not None:
            # A worker of an older version does not tell.
            return _Holder(worker, iterating is None or name in orjson.loads(iterating))
    return None


def _class_of(jid: str, entries: Iterable[bytes]) -> str | None:
    """The class of the job with this jid, if it is among the entries of a working set."""
    # JSON may write other characters in many ways.
    sought = jid.encode() if jid.isascii() and jid.isalnum() else b""
    for value in entries:
        if sought not in value:
            continue
        try:
            job = payloads.parse(value.partition(b"\n")[2])
        except MalformedPayload:
            continue
        if job.jid == jid:
            return job.job_class
    return None


def _answer(jid: str, wanted: Wanted, outcome: bytes, holder: _Holder | None) -> ControlAnswer:
    worker = None if holder is None else holder.worker
    match outcome:
        case b"OVER":
            return ControlAnswer(jid, Standing.OVER, accepted=False, changed=False)
        case b"CANCELLED":
            return ControlAnswer(jid, Standing.CANCELLED, wanted is Wanted.CANCEL, changed=False, worker=worker)
        case _:
            standing = Standing.WAITING if holder is None else Standing.RUNNING
            return ControlAnswer(jid, standing, changed=outcome == b"WRITTEN", worker=worker)


def _unpark(keys: Keys, jid: str, raw: bytes, *, cancel: bool) -> Command:
    queue = _parked(raw).queue
    names = [keys.parked, keys.iteration(jid), keys.queues, keys.queue(queue), keys.wake(queue)]
    return _call(UNPARK, names, [jid, raw, _enqueued(raw), queue, int(cancel), STATE_SECONDS])


def _enqueued(raw: bytes) -> bytes:
    """Its payload, enqueued now: the time of its rest is not the queue's latency."""
    payload = _parked(raw).payload
    try:
        job = payloads.parse(payload)
        return job.with_fields(enqueued_at=job.time(time.time())).to_json()
    except (MalformedPayload, ArgumentsNotJSON):
        return payload


def _parked(raw: bytes) -> Parked:
    entry = Entry.parse(0, raw)
    return Parked(entry.queue, entry.taken_ms / 1000, entry.payload)


def _call(script: Script, names: Sequence[str], args: Sequence[Any]) -> Command:
    # By its source: it is called by hand, and a pipeline has no second try for a digest that Redis does not know.
    return ("EVAL", script.source, len(names), *names, *args)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
