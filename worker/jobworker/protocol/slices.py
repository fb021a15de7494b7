"""A job that is split into slices, each a job of its own, and joined when the last of them has ended.

What says of a job that it is a slice, or the one that joins, travels in its payload. Which slices have ended lies in
one HASH, and the scripts that change it decide who is the last: see `lua/split.lua` and `lua/slice_over.lua`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import orjson
from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId, Payload
from jobworker.protocol.records import Number
from jobworker.protocol.scripts import STATE_SECONDS, Script, WorkerScripts

SPLIT, SLICE_OVER = Script("split"), Script("slice_over")

SLICE, JOINS = "jw_slice", "jw_joins"
"""Fields of a payload: a slice's, and that of the job that joins."""

MOST_SLICES = 10_000
"""Of one job: they are written in one step."""

KNOWN_SECONDS = 210 * 24 * 3600  # a slice may be retried from the dead set, where Sidekiq keeps jobs for 180 days
_OF_A_FAILURE = {
    "retry_count", "failed_at", "retried_at", "error_class", "error_message", "error_backtrace", "enqueued_at",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of the job ``of``: number ``number`` of ``count``, counted from 0; ``queue`` is that of the whole job."""

    of: JobId
    number: int
    count: int
    queue: str
    value: Any

    @classmethod
    def read(cls, extra: Mapping[str, Any]) -> Slice | None:
        """The slice that a payload with these fields is; None if it is none."""
        found = extra.get(SLICE)
        if not isinstance(found, dict):
            return None
        return cls(JobId(found["of"]), int(found["number"]), int(found["count"]), found["queue"], found["value"])

    @property
    def field(self) -> dict[str, Any]:
        """What its payload carries."""
        return {"of": self.of, "number": self.number, "count": self.count, "queue": self.queue, "value": self.value}


class Split(Enum):
    """What became of a job that is to be split."""

    SPLIT = "SPLIT"
    ALREADY = "ALREADY"
    """It had been split before: its worker died a moment later, or heard no answer."""
    CANCELLED = "CANCELLED"
    PAUSED = "PAUSED"


@dataclass(frozen=True, slots=True)
class Splitting:
    """The slices of a job as payloads, and the beginning of the one that joins them, all up to its time."""

    queue: str
    unit: str
    joins: bytes
    slices: Sequence[bytes]


def slice_jid(whole: str, number: int) -> JobId:
    """The jid of a slice: the same each time, and of letters and digits as all jids."""
    return JobId(f"{whole}s{number}")


def splitting(whole: Payload, values: Sequence[Any], now: float) -> Splitting:
    """The payloads of slices of these ``values``, made at ``now`` in epoch seconds.

    They have the arguments and the options of the whole job, what client middleware added included.

    Raises:
        ArgumentsNotJSON: a value cannot travel as JSON.
    """
    kept = {name: value for name, value in whole.extra.items() if name not in _OF_A_FAILURE}
    fresh = replace(whole, extra=kept)
    slices = []
    for number, value in enumerate(values):
        found = Slice(whole.jid, number, len(values), whole.queue, value)
        fields = {**kept, SLICE: found.field, "enqueued_at": whole.time(now)}
        slices.append(replace(whole, jid=slice_jid(whole.jid, number), extra=fields).to_json())
    joins = fresh.with_fields(**{JOINS: True}).to_json()
    return Splitting(whole.queue, whole.time_format, joins[:-1] + b',"enqueued_at":', slices)


def joined(splitting: Splitting, now: float) -> bytes:
    """The payload of the job that joins, as the script makes it."""
    at = orjson.dumps(float(now) if splitting.unit == "seconds" else round(now * 1000))
    return splitting.joins + at + b"}"


async def split_before(redis: Redis, keys: Keys, jid: str) -> Split | None:
    """What keeps a job from being split: that it was, or that somebody cancelled or paused it."""
    async with redis.pipeline(transaction=False) as pipe:
        _ = pipe.exists(keys.slices(jid)), pipe.hmget(keys.iteration(jid), ["cancelled", "paused"])
        known, (cancelled, paused) = await pipe.execute()
    if known:
        return Split.ALREADY
    if cancelled is not None:
        return Split.CANCELLED
    return None if paused is None else Split.PAUSED


async def split(
    scripts: WorkerScripts, keys: Keys, number: Number, whole: Payload, values: Sequence[Any], total: int | None
) -> Split:
    """Enqueue the slices of a held job, which have ``total`` rows together, unless that was done before.

    Raises:
        StaleEpoch: this life of the worker has ended.
        NotHeld: the job has another holder by now.
        ArgumentsNotJSON: a value cannot travel as JSON.
    """
    made = splitting(whole, values, time.time())
    args: list[Any] = [
        STATE_SECONDS,
        KNOWN_SECONDS,
        made.queue,
        made.unit,
        made.joins,
        "" if total is None else total,
        *made.slices,
    ]
    answer = await scripts.of_job(SPLIT, number, whole.jid, _keys(keys, whole.jid, made.queue), args)
    return Split(answer[0].decode())


async def over(
    scripts: WorkerScripts, keys: Keys, number: Number, jid: str, part: Slice, *, cancelled: bool, kept_seconds: int
) -> int:
    """Tell that a held slice has ended. How many are left of the whole job; -1 where that is unknown by now.

    Raises:
        StaleEpoch: this life of the worker has ended.
        NotHeld: the slice has another holder by now.
    """
    args = [part.number, "cancelled" if cancelled else "done", part.queue, KNOWN_SECONDS, kept_seconds]
    answer = await scripts.of_job(SLICE_OVER, number, jid, _keys(keys, part.of, part.queue), args)
    return int(answer[1])


async def awaited(redis: Redis, keys: Keys, jobs: Sequence[Payload | None]) -> list[JobId | None]:
    """For each of the jobs the one that waits for it as its slice; None for one that nobody waits for."""
    parts = [None if job is None else job.extra.get(SLICE) for job in jobs]
    # Payloads of strangers may have anything there.
    named = [
        (place, str(part["of"]), part["number"])
        for place, part in enumerate(parts)
        if isinstance(part, dict) and {"of", "number"} <= part.keys()
    ]
    found: list[JobId | None] = [None] * len(parts)
    async with redis.pipeline(transaction=False) as pipe:
        for _, whole, number in named:
            _ = pipe.hget(keys.slices(whole), f"s{number}")
        for (place, whole, _), state in zip(named, await pipe.execute(), strict=True):
            if state == b"left":
                found[place] = JobId(whole)
    return found


def _keys(keys: Keys, whole: str, queue: str) -> list[str]:
    return [
        keys.slices(whole), keys.progress(whole), keys.iteration(whole), keys.queues, keys.queue(queue),
        keys.wake(queue),
    ]  # fmt: skip
