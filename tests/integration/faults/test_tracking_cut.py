"""The connection that tells an idle worker of new jobs is cut at the worst moment: it must not end the worker."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from jobworker.protocol.cancellation import end
from jobworker.runtime.link import Link
from jobworker.runtime.tracking import Tracking
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_question_on_a_connection_that_was_just_cut_is_asked_anew_when_there_is_another(redis: Redis) -> None:
    heard: list[str] = []
    tracking = Tracking(redis, Link("redis"))
    watched = tracking.watch(["queue:x"], lambda: heard.append("found"), lambda: heard.append("changed"))
    task = asyncio.create_task(tracking.run())
    try:
        await wait_until(lambda: tracking.works, 5)
        heard.clear()
        await tracking._connection.disconnect(nowait=True)
        watched.arm()
        await wait_until(lambda: "changed" in heard, 10, "whoever waits is asked to look")
        heard.clear()
        await wait_until(lambda: tracking.works, 5)
        watched.arm()
        await redis.lpush("queue:x", "job")
        await wait_until(lambda: heard, 5, "a change is told again")
    finally:
        await end([task])
