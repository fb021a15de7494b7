"""An idle worker mostly only prolongs its life, and is found out, quieted and told apart as surely as a busy one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest
from redis.asyncio import Redis

from jobworker import App
from jobworker.client.connection import connect
from jobworker.protocol.cancellation import end
from jobworker.protocol.reading import activities
from jobworker.runtime import heartbeat as heartbeats
from jobworker.runtime import sidekiq
from jobworker.runtime.heartbeat import Heartbeat
from jobworker.runtime.life import ALIVE_SECONDS
from jobworker.runtime.link import Link
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


@dataclass
class Beating:
    """A worker that beats fast and tells all of itself only once; ``load`` is how many jobs it says to have."""

    rig: Rig
    redis: Redis
    load: int = 0

    def __post_init__(self) -> None:
        self.heartbeat: Heartbeat | None = None

    async def calls(self, command: str) -> int:
        stats = await self.redis.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))

    async def prolonged(self, times: int = 5) -> None:
        before = await self.calls("getex")

        async def often() -> bool:
            return await self.calls("getex") >= before + times

        await wait_until(often, 20, "beats that only prolong the life")

    async def told(self, field: str) -> str:
        found = cast("bytes | None", await self.redis.hget(KEYS.record("a"), field))
        return (found or b"").decode()


@pytest.fixture
async def beating(redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Beating]:
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeats, "IDLE_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeats, "FULL_SECONDS", 10_000.0)
    monkeypatch.setattr(sidekiq, "IDLE_SECONDS", 10_000.0)  # which would be a reason to tell all as well
    async with Rig.of(redis, App()) as rig:
        found = Beating(rig, redis)
        found.heartbeat = Heartbeat(
            rig.life, Link("redis"), rig.state, lambda: found.load, lambda: connect(redis_server.url)
        )
        task = asyncio.create_task(found.heartbeat.run())
        yield found
        await end([task])
        assert task.done()


async def test_idle_worker_is_as_fresh_as_its_last_sign_of_life(beating: Beating, redis: Redis) -> None:
    await beating.prolonged()
    await redis.hset(KEYS.record("a"), "beat", "1")
    await beating.prolonged()
    assert await beating.told("beat") == "1", "nothing but the life was written"
    (activity,) = await activities(redis, KEYS, [beating.rig.life.worker])
    assert activity.alive
    assert activity.beat_age_seconds is not None
    assert activity.beat_age_seconds < ALIVE_SECONDS
    assert beating.heartbeat is not None
    assert beating.heartbeat.fresh


async def test_worker_with_jobs_tells_all_of_itself_and_its_last_job_s_end(beating: Beating) -> None:
    await beating.prolonged()
    beating.load = 3

    async def says(running: str) -> bool:
        return await beating.told("running") == running

    await wait_until(lambda: says("3"), 20)
    beating.load = 0
    await wait_until(lambda: says("0"), 20)
    await beating.prolonged()


async def test_nudge_makes_it_hear_whether_it_is_quiet(beating: Beating, redis: Redis) -> None:
    await beating.prolonged()
    await redis.set(KEYS.quiet("a"), "operator: Rollout")
    assert beating.heartbeat is not None
    beating.heartbeat.beat_now()
    await wait_until(lambda: beating.rig.state.quiet_reason == "operator: Rollout", 20)
    await redis.delete(KEYS.quiet("a"))
    # A quiet worker tells and hears all each time: its operator waits for it.
    await wait_until(lambda: beating.rig.state.quiet_reason is None, 20)
    await beating.prolonged()


@pytest.mark.parametrize("successor", [False, True], ids=["nobody", "another life"])
async def test_idle_worker_finds_out_that_its_life_is_over(beating: Beating, redis: Redis, *, successor: bool) -> None:
    await beating.prolonged()
    async with redis.pipeline(transaction=True) as pipe:
        _ = pipe.delete(KEYS.record("a")), pipe.delete(KEYS.alive("a"))
        if successor:
            _ = pipe.hset(KEYS.record("a"), "epoch", "another"), pipe.set(KEYS.alive("a"), "another", px=60_000)
        await pipe.execute()
    await wait_until(lambda: beating.rig.life.stale, 20)
    assert await redis.get(KEYS.alive("a")) == (b"another" if successor else None)


async def test_idle_worker_whose_heartbeat_ran_out_takes_it_up_again(beating: Beating, redis: Redis) -> None:
    """Nobody rescued it meanwhile: it is the same life."""
    await beating.prolonged()
    await redis.delete(KEYS.alive("a"))

    async def alive() -> bool:
        return bool(await redis.exists(KEYS.alive("a")))

    await wait_until(alive, 20)
    assert not beating.rig.life.stale
    await beating.prolonged()
