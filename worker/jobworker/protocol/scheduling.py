"""The schedule and the retry set as steps in Redis: put in, looked at by one worker at a time, moved when due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobworker.errors import ArgumentsNotJSON, MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import Payload
from jobworker.protocol.records import WorkerId
from jobworker.protocol.scripts import PROMOTE, Script

DUE, SCHEDULE, RELEASE = Script("due"), Script("schedule"), Script("release")

AT_ONCE = 250  # entries of each set in a look: a few milliseconds of Redis' time, after which others have their turn
_BYTES_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Led:
    """What the one worker that looks sees. ``now`` is Redis' clock in epoch seconds.

    ``next_due``: when the next entry of either set is due in epoch seconds, in the past where some are; None without
    any. ``retries`` and ``scheduled`` are due entries, the oldest first, not necessarily all. ``pause_ends``: when the
    next pause of a queue is over, in epoch seconds.
    """

    now: float
    deaths: bool
    workers: frozenset[WorkerId]
    retries: tuple[bytes, ...]
    scheduled: tuple[bytes, ...]
    next_due: float | None
    pause_ends: float | None


@dataclass(frozen=True, slots=True)
class Followed:
    """What the others see: somebody leads, for so long at least; how many workers there are."""

    lease_seconds: float
    deaths: bool
    workers: int


@dataclass(frozen=True, slots=True)
class Promoted:
    """``moved`` entries left the set; ``buried`` tells what is wrong with those that went to the dead set."""

    moved: int
    buried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """An entry of a set, and what goes onto ``queue`` in its place; into the dead set where that is None."""

    member: bytes
    queue: str | None
    payload: bytes


async def look(redis: Redis, keys: Keys, worker: WorkerId, lease_seconds: float) -> Led | Followed:
    """Lead, or go on leading, if nobody else does. ``deaths``: some wait for their handlers."""
    answer = await DUE(
        redis,
        [keys.scheduler, keys.retry, keys.schedule, keys.deaths, keys.workers, keys.paused_until],
        [worker, round(lease_seconds * 1000), AT_ONCE, _BYTES_AT_ONCE],
    )
    if answer[0] == b"FOLLOW":
        return Followed(max(answer[1], 0) / 1000, bool(answer[2]), answer[3])
    _, now, deaths, workers, retries, scheduled, *scores, pause = answer
    due = [float(score) for score in scores if score]
    return Led(
        float(now),
        bool(deaths),
        frozenset(WorkerId(worker.decode("utf-8", "surrogateescape")) for worker in workers),
        tuple(retries),
        tuple(scheduled),
        min(due) if due else None,
        float(pause) / 1000 if pause else None,
    )


async def renew(redis: Redis, keys: Keys, worker: WorkerId, lease_seconds: float) -> None:
    """Go on leading without a look.

    RACE somebody else leads by now: then two do until the next look, and do no harm.
    """
    await redis.set(keys.scheduler, worker, xx=True, px=round(lease_seconds * 1000))


async def release(redis: Redis, keys: Keys, worker: WorkerId) -> None:
    """Stop leading, so that the next one need not wait for the lease to end."""
    await RELEASE(redis, [keys.scheduler], [worker])


async def promote(redis: Redis, keys: Keys, due_set: str, members: Sequence[bytes], now: float) -> Promoted:
    """Move entries of ``due_set`` to their queues, at most `AT_ONCE`; what is no job goes to the dead set."""
    moves: list[Move] = []
    buried: list[str] = []
    for member in members:
        try:
            job = payloads.parse(member)
        except MalformedPayload as error:
            moves.append(Move(member, None, member))
            buried.append(str(error))
        else:
            moves.append(Move(member, job.queue, _enqueued(member, job, now)))
    moved, dead = await _move(redis, keys, due_set, moves, now)
    if dead > len(buried):
        buried.append(f"the keys of {dead - len(buried)} jobs' queues are no lists: somebody else writes to them")
    return Promoted(moved, tuple(buried))


async def move(redis: Redis, keys: Keys, job_set: str, moves: Sequence[Move], now: float) -> int:
    """Take entries out of a set and push them, in one step; how many were still there. A thousand at most.

    Where the key of a queue is no list, its entries go to the dead set: nothing else would keep them.
    """
    moved, _ = await _move(redis, keys, job_set, moves, now)
    return moved


async def _move(redis: Redis, keys: Keys, job_set: str, moves: Sequence[Move], now: float) -> tuple[int, int]:
    queues = sorted({made.queue for made in moves if made.queue is not None})
    places = {queue: place for place, queue in enumerate(queues, 1)}
    args: list[Any] = [now, len(queues), *queues]
    for made in moves:
        args += [made.member, 0 if made.queue is None else places[made.queue], made.payload]
    names = [name for queue in queues for name in (keys.queue(queue), keys.wake(queue))]
    moved, buried = await PROMOTE(redis, [job_set, keys.queues, keys.dead, *names], args)
    return int(moved), int(buried)


def _enqueued(member: bytes, job: Payload, now: float) -> bytes:
    try:
        return job.with_fields(enqueued_at=job.time(now)).to_json()
    except ArgumentsNotJSON:
        return member  # nested deeper than can be written: it runs all the same, only its latency is unknown
