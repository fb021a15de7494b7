"""Pauses of queues, for good and for a time, as takes see them."""

from __future__ import annotations

import time

import pytest
from redis.asyncio import Redis

from jobworker.protocol.inspection import queue_reports
from jobworker.protocol.keys import Keys
from jobworker.protocol.pausing import lift_pauses, pause, unpause
from jobworker.protocol.scripts import FleetScripts
from tests.integration.protocol.conftest import Birth
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

FAR = 10**9  # seconds


async def test_paused_queue_is_passed_over_and_wakes_workers_when_it_goes_on(
    redis: Redis, keys: Keys, birth: Birth, outside: FleetScripts
) -> None:
    worker = await birth()
    assert await pause(redis, keys, "mails")
    await outside.enqueue("mails", [b"1", b"2"])
    await redis.delete(keys.wake("mails"))
    assert (await worker.take(["mails"], 5, 1)).entries == ()
    assert await unpause(redis, keys, "mails")
    assert await redis.llen(keys.wake("mails")) == 2
    assert len((await worker.take(["mails"], 5, 1)).entries) == 2
    assert not await unpause(redis, keys, "mails")


async def test_pause_for_a_time_is_lifted_when_that_is_over_by_the_clock_of_redis(redis: Redis, keys: Keys) -> None:
    await pause(redis, keys, "later", 600)
    await pause(redis, keys, "soon", 0.05)

    async def lifted() -> bool:
        # A worker whose clock is far ahead must not end the pause of ten minutes.
        return await lift_pauses(redis, keys, time.time() + FAR) == 1

    await wait_until(lifted)
    assert await redis.smembers(keys.paused) == {b"later"}
    assert await redis.zrange(keys.paused_until, 0, -1) == [b"later"]


async def test_last_word_on_a_pause_counts(redis: Redis, keys: Keys) -> None:
    assert await pause(redis, keys, "mails", 0.001)
    assert not await pause(redis, keys, "mails")
    assert await lift_pauses(redis, keys, time.time() + FAR) == 0
    [queue] = await queue_reports(redis, keys)
    assert (queue.depth.paused, queue.paused_until) == (True, None)
    assert not await pause(redis, keys, "mails", 60)
    [queue] = await queue_reports(redis, keys)
    assert queue.paused_until is not None
    assert 0 < queue.paused_until - time.time() < 61
