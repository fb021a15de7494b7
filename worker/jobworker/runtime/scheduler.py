"""Moves due jobs of the schedule and the retry set to their queues, and ends pauses of queues whose time is over.

Every worker does, quiet ones too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from jobworker.errors import ArgumentsNotJSON, MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.pausing import lift_pauses
from jobworker.protocol.payload import Payload
from jobworker.protocol.scripts import PROMOTE
from jobworker.runtime.link import AWAY, Link

log = logging.getLogger("jobworker.scheduler")

PERIOD_SECONDS = 1.0  # on average; with jitter, so that many workers spread out
_AT_ONCE = 100


async def promote_forever(redis: Redis, keys: Keys, link: Link) -> None:
    """Look about once a second, until cancelled."""
    while True:
        try:
            for due_set in (keys.retry, keys.schedule):
                while await promote_due(redis, keys, due_set, time.time()) == _AT_ONCE:
                    continue
            await lift_pauses(redis, keys, time.time())
        except AWAY as error:
            link.lost(error)
        await asyncio.sleep(PERIOD_SECONDS * random.uniform(0.5, 1.5))


async def promote_due(redis: Redis, keys: Keys, due_set: str, now: float) -> int:
    """Move up to a hundred entries that are due at ``now`` (epoch seconds). How many were found due."""
    members = await cast("Awaitable[list[bytes]]", redis.zrangebyscore(due_set, "-inf", now, start=0, num=_AT_ONCE))
    if not members:
        return 0
    jobs: list[tuple[bytes, Payload]] = []
    for member in members:
        try:
            jobs.append((member, payloads.parse(member)))
        except MalformedPayload as error:
            log.error(  # noqa: TRY400  # the message is all there is to tell
                "scheduled entry buried in the dead set: %s", error, extra={"set": due_set}
            )
            # Written first and removed second: killed in between, it is in both, not in none.
            await redis.zadd(keys.dead, {member: now})
            await redis.zrem(due_set, member)
    if jobs:
        await _move(redis, keys, due_set, jobs, now)
    return len(members)


async def _move(redis: Redis, keys: Keys, due_set: str, jobs: Sequence[tuple[bytes, Payload]], now: float) -> None:
    queues = sorted({job.queue for _, job in jobs})
    names = [due_set, keys.queues, *(name for queue in queues for name in (keys.queue(queue), keys.wake(queue)))]
    args: list[Any] = []
    for member, job in jobs:
        args += [member, queues.index(job.queue) + 1, job.queue, _enqueued(member, job, now)]
    await PROMOTE(redis, names, args)


def _enqueued(member: bytes, job: Payload, now: float) -> bytes:
    try:
        return job.with_fields(enqueued_at=now).to_json()
    except ArgumentsNotJSON:
        return member  # nested deeper than can be written: it runs all the same, only its latency is unknown
