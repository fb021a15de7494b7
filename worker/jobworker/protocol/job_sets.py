"""The three sorted sets in which jobs wait or rest, scheduled, to be retried, dead: reading them, acting on entries.

Every action is guarded by the removal of the entry in the same script: of two people who press retry at the same
moment, one retries the job and the other is told that it is gone.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, assert_never, cast

from redis.asyncio import Redis

from jobworker.errors import ArgumentsNotJSON, MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import Payload, seconds_of
from jobworker.protocol.scheduling import Move, move
from jobworker.protocol.scripts import DEAD_JOBS, DEAD_SECONDS, Script

BURY = Script("bury")

_AT_ONCE = 200  # entries in one script: Redis serves others in between
_UNREADABLE = "unreadable-"


class JobSet(Enum):
    """A sorted set of jobs. The score of an entry is when it is due, tried again, or when it died."""

    SCHEDULED = "scheduled"
    RETRY = "retry"
    DEAD = "dead"

    def key(self, keys: Keys) -> str:
        """Its key in Redis."""
        match self:
            case JobSet.SCHEDULED:
                return keys.schedule
            case JobSet.RETRY:
                return keys.retry
            case JobSet.DEAD:
                return keys.dead
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True)
class Found:
    """A job where it lies: its bytes, and what they say. ``job`` is None where they say nothing, for ``problem``."""

    raw: bytes
    job: Payload | None
    problem: str = ""

    @classmethod
    def read(cls, raw: bytes) -> Found:
        """Whatever the bytes are."""
        try:
            return cls(raw, payloads.parse(raw))
        except MalformedPayload as error:
            return cls(raw, None, str(error))

    @property
    def id(self) -> str:
        """The jid, or a name made of the bytes where they have none."""
        if self.job is not None:
            return self.job.jid
        return _UNREADABLE + hashlib.sha256(self.raw).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class SetEntry:
    """An entry of a set; ``score`` in epoch seconds."""

    job_set: JobSet
    score: float
    found: Found


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in the order in which people want them, of ``size`` that the set has."""

    entries: tuple[SetEntry, ...]
    size: int


async def page(redis: Redis, keys: Keys, job_set: JobSet, offset: int, count: int) -> Page:
    """``count`` entries from ``offset`` on: what is due first comes first, of the dead the latest."""
    async with redis.pipeline(transaction=False) as pipe:
        _ = (
            pipe.zcard(job_set.key(keys)),
            pipe.zrange(job_set.key(keys), offset, offset + count - 1, desc=job_set is JobSet.DEAD, withscores=True),
        )
        size, rows = await pipe.execute()
    return Page(tuple(_entry(job_set, row) for row in rows), int(size))


async def entries(redis: Redis, keys: Keys, job_set: JobSet, match: str | None = None) -> AsyncIterator[SetEntry]:
    """All entries, in no order. One that is there from beginning to end comes; one may come twice."""
    cursor = 0
    while True:
        answer = redis.zscan(job_set.key(keys), cursor, match=match, count=_AT_ONCE)
        cursor, rows = await cast("Awaitable[tuple[int, list[Any]]]", answer)
        for row in rows:
            yield _entry(job_set, row)
        if not cursor:
            return


async def find(redis: Redis, keys: Keys, identity: str, sets: Iterable[JobSet] = JobSet) -> list[SetEntry]:
    """The entries with this jid, or with this name of unreadable bytes."""
    # An unreadable entry's name is not in its bytes, and JSON may write other characters in many ways: Redis cannot
    # choose then, and all entries are looked at.
    plain = re.fullmatch(r"[A-Za-z0-9]+", identity)
    match = f"*{identity}*" if plain else None
    found: dict[tuple[JobSet, bytes], SetEntry] = {}
    for job_set in sets:
        async for entry in entries(redis, keys, job_set, match):
            if entry.found.id == identity:
                found[job_set, entry.found.raw] = entry
    return list(found.values())


async def retry(redis: Redis, keys: Keys, chosen: Sequence[SetEntry]) -> int:
    """Put entries onto their queues now. How many were still there.

    As Sidekiq's own retry button, it does not use up a try: the count of retries goes back by one.

    Raises:
        MalformedPayload: an entry cannot be read, so that nobody knows its queue; nothing of its set was moved.
    """
    moved = 0
    for job_set, same_set in _by_set(chosen):
        for entry in same_set:
            if entry.found.job is None:
                raise MalformedPayload(entry.found.problem)
        for some in _chunks(same_set):
            moved += await _enqueue(redis, keys, job_set, some)
    return moved


async def kill(redis: Redis, keys: Keys, chosen: Sequence[SetEntry]) -> int:
    """Move scheduled entries and retries to the dead set, untouched. How many were still there."""
    moved = 0
    now = time.time()
    for job_set, same_set in _by_set(chosen):
        if job_set is JobSet.DEAD:
            continue  # a second death would only change the date of the first
        for some in _chunks(same_set):
            args: list[Any] = [now, now - DEAD_SECONDS, DEAD_JOBS, *(entry.found.raw for entry in some)]
            moved += int(await BURY(redis, [job_set.key(keys), keys.dead], args))
    return moved


async def delete(redis: Redis, keys: Keys, chosen: Sequence[SetEntry]) -> int:
    """Remove entries for good. How many were still there."""
    deleted = 0
    for job_set, same_set in _by_set(chosen):
        for some in _chunks(same_set):
            deleted += int(await redis.zrem(job_set.key(keys), *(entry.found.raw for entry in some)))
    return deleted


async def _enqueue(redis: Redis, keys: Keys, job_set: JobSet, chosen: Sequence[SetEntry]) -> int:
    now = time.time()
    moves = [
        Move(entry.found.raw, entry.found.job.queue, _again(entry.found.raw, entry.found.job, now))
        for entry in chosen
        if entry.found.job is not None
    ]
    return await move(redis, keys, job_set.key(keys), moves, now)


def _again(raw: bytes, job: Payload, now: float) -> bytes:
    changes: dict[str, Any] = {"enqueued_at": job.time(now)}
    count = job.extra.get("retry_count")
    if isinstance(count, int) and not isinstance(count, bool):
        changes["retry_count"] = count - 1
    try:
        return job.with_fields(**changes).to_json()
    except ArgumentsNotJSON:
        return raw  # nested deeper than can be written: it is tried as it is


def touched_at(entry: SetEntry) -> float | None:
    """When a worker last failed with this job, in epoch seconds; None if none did."""
    if entry.found.job is None:
        return None
    extra = entry.found.job.extra
    return seconds_of(extra.get("retried_at")) or seconds_of(extra.get("failed_at"))


def _by_set(chosen: Sequence[SetEntry]) -> Iterator[tuple[JobSet, list[SetEntry]]]:
    for job_set in JobSet:
        same_set = [entry for entry in chosen if entry.job_set is job_set]
        if same_set:
            yield job_set, same_set


def _chunks(chosen: Iterable[SetEntry]) -> Iterator[list[SetEntry]]:
    source = iter(chosen)
    while some := list(islice(source, _AT_ONCE)):
        yield some


def _entry(job_set: JobSet, row: Sequence[Any]) -> SetEntry:
    member, score = row
    return SetEntry(job_set, float(score), Found.read(bytes(member)))
