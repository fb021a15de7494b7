"""Who watches the others rescues the dead, and nobody who only could not say for a while that it lives."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Epoch, WorkerId
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from jobworker.runtime.life import Life
from jobworker.runtime.link import Link
from jobworker.runtime.rescue import SILENT_SECONDS, Watch
from jobworker.runtime.settings import Settings
from jobworker.runtime.state import WorkerState

KEYS = Keys()
SEEN = frozenset({WorkerId("a"), WorkerId("silent")})


@pytest.fixture
async def watch(redis: Redis, clock: Clock) -> Watch:
    """Worker a watches; the other one holds a job and its heartbeat has run out."""
    silent = WorkerScripts(redis, KEYS, WorkerId("silent"), Epoch("1"), "f")
    await silent.register(60, {})
    await FleetScripts(redis, KEYS).enqueue(
        "default", [payloads.new("Import", [1], queue="default", now=0.0).to_json()]
    )
    await silent.take(["default"], 1, 1)
    await redis.delete(KEYS.alive("silent"))
    return Watch(Life(redis, KEYS, WorkerId("a"), Settings(), WorkerState()), Link("redis"), clock)


class Clock:
    """Stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def see(watch: Watch, after: float = SILENT_SECONDS) -> None:
    """Look, so many seconds after the look before."""
    clock = watch._clock
    assert isinstance(clock, Clock)
    clock.now += after
    watch.see(SEEN)
    await watch.look()


async def rescued(redis: Redis) -> bool:
    return await redis.llen(KEYS.queue("default")) == 1


async def test_worker_found_silent_twice_is_rescued(watch: Watch, redis: Redis) -> None:
    await see(watch)
    assert not await rescued(redis), "once may be a heartbeat that is late"
    await see(watch)
    assert await rescued(redis)


async def test_looks_that_follow_each_other_at_once_rescue_nobody(watch: Watch, redis: Redis) -> None:
    """As they do while jobs are due: after an outage all would be taken for dead before they could beat."""
    for _ in range(5):
        await see(watch, 0.4)
    assert not await rescued(redis)
    await see(watch, 0.9)
    assert await rescued(redis), "silent since the first of them"


async def test_outage_between_two_looks_makes_the_first_one_void(watch: Watch, redis: Redis) -> None:
    await see(watch)
    watch.blind()
    await see(watch)
    assert not await rescued(redis)
    await see(watch)
    assert await rescued(redis)


async def test_worker_that_beats_again_between_two_looks_is_left_alone(watch: Watch, redis: Redis) -> None:
    await see(watch)
    await redis.set(KEYS.alive("silent"), "1", px=60_000)
    await see(watch)
    await redis.delete(KEYS.alive("silent"))
    await see(watch)
    assert not await rescued(redis), "its silence begins anew"


async def test_watcher_never_suspects_itself(redis: Redis, watch: Watch) -> None:
    own = WorkerScripts(redis, KEYS, WorkerId("a"), Epoch("1"), "f")
    await own.register(60, {})
    await redis.delete(KEYS.alive("a"))
    for _ in range(3):
        await see(watch)
    assert await redis.exists(KEYS.record("a"))
