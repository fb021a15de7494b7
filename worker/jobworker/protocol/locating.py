"""Where one job is, by its jid, for a person who wants something of it: resting, running, due later, dead, in a queue.

Queues have no index: they are searched from the job that is taken next on, up to a bound.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from jobworker.protocol import job_sets
from jobworker.protocol.control import Parked
from jobworker.protocol.inspection import RunningJob, worker_reports
from jobworker.protocol.job_sets import Found, SetEntry
from jobworker.protocol.keys import Keys
from jobworker.protocol.queue_patterns import takes
from jobworker.protocol.records import Entry

QUEUED_SEARCHED = 100_000
"""Jobs in queues that are looked at for one jid."""

_AT_ONCE = 1_000  # jobs read from a queue in one crossing: Redis serves others in between


@dataclass(frozen=True, slots=True)
class Queued:
    """A job that waits in ``queue``; ``place`` 1 is taken next."""

    queue: str
    place: int
    found: Found


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Not found. ``complete``: all queues were searched to their end."""

    complete: bool


Located = Parked | RunningJob | SetEntry | Queued | Nowhere


async def locate(redis: Redis, keys: Keys, jid: str) -> Located:
    """Where the job is.

    RACE it moves on while it is looked for: who takes it from a queue is looked at after the queue.
    """
    held = await _held(redis, keys, jid)
    if held is not None:
        return held
    for entry in await job_sets.find(redis, keys, jid):
        return entry
    queued = await _queued(redis, keys, jid)
    if isinstance(queued, Nowhere):
        return await _held(redis, keys, jid) or queued
    return queued


async def parked_job(redis: Redis, keys: Keys, jid: str) -> Parked | None:
    """The job, if it rests."""
    raw = await cast("Awaitable[bytes | None]", redis.hget(keys.parked, jid))
    if raw is None:
        return None
    entry = Entry.parse(0, raw)
    return Parked(entry.queue, entry.taken_ms / 1000, entry.payload)


async def iterating_classes(redis: Redis, keys: Keys, queue: str) -> frozenset[str] | None:
    """The classes of jobs that the workers of a queue walk over items for; None where no worker of it tells.

    Of that queue: a fleet that is scaled to zero defines classes that others do not know.
    """
    workers = await cast("Awaitable[set[bytes]]", redis.smembers(keys.workers))
    async with redis.pipeline(transaction=False) as pipe:
        for worker in workers:
            _ = pipe.hmget(keys.record(worker.decode("utf-8", "surrogateescape")), ["iterating", "queues"])
        records = await pipe.execute()
    told = [
        iterating
        for iterating, queues in records
        if iterating is not None and queues is not None and takes(_names(queues), queue)
    ]
    return frozenset(name for raw in told for name in orjson.loads(raw)) if told else None


async def delete_queued(redis: Redis, keys: Keys, job: Queued) -> int:
    """Remove a job from its queue for good. 1 if it was still there, 0 if somebody was faster."""
    # From where jobs are taken: of two with the same bytes the one that was found.
    raw: Any = job.found.raw
    return int(await redis.lrem(keys.queue(job.queue), -1, raw))


def _names(queues: bytes) -> list[str]:
    return [part.partition(",")[0] for part in queues.decode("utf-8", "replace").split()]


async def _held(redis: Redis, keys: Keys, jid: str) -> Parked | RunningJob | None:
    return await parked_job(redis, keys, jid) or await _running(redis, keys, jid)


async def _running(redis: Redis, keys: Keys, jid: str) -> RunningJob | None:
    held = (job for worker in await worker_reports(redis, keys) for job in worker.jobs)
    return next((job for job in held if job.found.id == jid), None)


async def _queued(redis: Redis, keys: Keys, jid: str) -> Queued | Nowhere:
    # JSON may write other characters in many ways.
    sought = jid.encode() if jid.isascii() and jid.isalnum() else b""
    left = QUEUED_SEARCHED
    for name in sorted(await cast("Awaitable[set[bytes]]", redis.smembers(keys.queues))):
        queue = name.decode("utf-8", "replace")
        place = 0
        while left > 0:
            page = redis.lrange(keys.queue(queue), -(place + _AT_ONCE), -(place + 1))
            raw = await cast("Awaitable[list[bytes]]", page)
            for payload in reversed(raw):
                place += 1
                if sought in payload and (found := Found.read(payload)).id == jid:
                    return Queued(queue, place, found)
            left -= len(raw)
            if len(raw) < _AT_ONCE:
                break
    return Nowhere(complete=left > 0)
