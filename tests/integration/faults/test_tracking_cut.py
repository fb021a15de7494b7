"""The connection that tells an idle worker of new jobs is cut at the worst moment: it must not end the worker."""

from __future__ import annotations

import asyncio
from typing import Any

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


async def test_nobody_is_asked_on_a_connection_that_another_has_by_then(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RACE it goes back to the pool, and who takes it next would read the answer as its own."""
    tracking = Tracking(redis, Link("redis"))
    watched = tracking.watch(["queue:x"], lambda: None, lambda: None)
    pool: Any = redis.connection_pool
    release, said = pool.release, list[Any]()

    async def taken_at_once(connection: Any) -> None:
        was_trackings = connection is tracked
        await release(connection)
        if was_trackings and not said:
            again = await pool.get_connection()
            assert again is connection, "the pool gives another one, so nothing is tested"
            watched.arm()
            await again.send_command("PING")
            said.append(await again.read_response())
            await release(again)

    task = asyncio.create_task(tracking.run())
    try:
        await wait_until(lambda: tracking.works, 5)
        tracked = tracking._connection
        monkeypatch.setattr(pool, "release", taken_at_once)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await wait_until(lambda: said, 10)
        assert said == [b"PONG"]
    finally:
        await end([task])
