"""The heartbeat goes on while the event loop is blocked, up to a point, and bears connections that do not answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from jobworker import App
from jobworker.client.connection import connect, connect_sync
from jobworker.protocol.cancellation import end
from jobworker.runtime import heartbeat as heartbeats
from jobworker.runtime.heartbeat import Heartbeat
from jobworker.runtime.link import Link
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
async def rig(redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeats, "IDLE_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeats, "FULL_SECONDS", 0.0)
    monkeypatch.setattr(heartbeats, "_BLOCKED_SECONDS", 0.4)
    async with Rig.of(redis, App()) as rig:
        beating = Heartbeat(
            rig.life, Link("redis"), rig.state, lambda: rig.fetch.load, lambda: connect(redis_server.url)
        )
        task = asyncio.create_task(beating.run())
        yield rig
        await end([task])
        assert task.done()


async def beat(redis: Redis) -> float:
    return float(await redis.hget(KEYS.record("a"), "beat") or 0)


async def test_loop_that_does_not_turn_for_too_long_is_given_up_and_taken_up_again(
    rig: Rig,
    redis: Redis,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(heartbeats, "HUNG_SECONDS", 0.8)
    first = await beat(redis)

    async def beaten() -> bool:
        return await beat(redis) > first

    await wait_until(beaten, 3)
    began = time.time()
    with caplog.at_level(logging.WARNING):
        time.sleep(2)  # noqa: ASYNC251  # bad code is what the test is about
        with connect_sync(redis_server.url) as blocking:  # the loop does not turn before it is read
            last = float(str(blocking.hget(KEYS.record("a"), "beat"), "utf-8"))
        await wait_until(lambda: "the event loop turns again" in caplog.text, 3)
    assert began + 0.4 < last < began + 1.6, "beats went on while blocked, and ended when that took too long"
    assert caplog.text.count("the event loop is blocked") == 1
    assert caplog.text.count("the heartbeat stops") == 1
    assert "test_heartbeat.py" in str([getattr(record, "at", "") for record in caplog.records])
    first = await beat(redis)
    await wait_until(beaten, 3)


async def test_connection_that_is_cut_does_not_cost_a_life(rig: Rig, redis: Redis) -> None:
    first = await beat(redis)

    async def beaten() -> bool:
        return await beat(redis) > first

    await wait_until(beaten, 3)
    for _ in range(3):
        await redis.client_kill_filter(_type="normal", skipme=True)
        first = await beat(redis)
        await wait_until(beaten, 2)
    assert not rig.life.stale
