"""An idle worker has jobs handed over in one crossing, and no way of ending the wait loses a job or runs one twice."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import App
from jobworker.errors import StaleEpoch
from jobworker.protocol.records import Taken
from jobworker.protocol.rescue import Death, rescue
from jobworker.runtime.handover import Handover, Offer
from jobworker.runtime.link import Link
from jobworker.runtime.tracking import Tracking
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig, rigged
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class Ran(list[int]):
    """Numbers of the jobs that ran."""

    def __init__(self) -> None:
        self.app = App()

        @self.app.job
        async def note(number: int) -> None:
            self.append(number)


class Alone:
    """A handover without the loop around it."""

    def __init__(self, rig: Rig) -> None:
        self.brought: list[Taken] = []
        self.over = asyncio.Event()
        self.rig = rig
        self.handover = Handover(rig.life, Tracking(rig.redis, Link("redis")), self.brought.append, self.over.set)

    def offer(self, number: int = 1) -> None:
        self.over.clear()
        self.handover.offer(Offer(["default"], 5, number, {}))


async def blocked(redis: Redis) -> bool:
    return int((await redis.info("clients"))["blocked_clients"]) > 0


async def not_blocked(redis: Redis) -> bool:
    return not await blocked(redis)


async def test_a_job_comes_to_an_idle_worker_without_a_take_of_its_own(redis: Redis) -> None:
    ran = Ran()
    async with rigged(redis, ran.app) as rig:
        await wait_until(lambda: rig.arrivals_armed, 10)
        await wait_until(lambda: blocked(redis), 10, "the offer")
        takes: list[int] = []
        ordinary = rig.life.scripts.take

        async def counted(*args: Any) -> Taken:
            takes.append(len(ran))
            return await ordinary(*args)

        cast("Any", rig.life.scripts).take = counted
        await rig.enqueue("note", 1)
        await wait_until(lambda: ran == [1], 10)
        await wait_until(rig.holds_nothing, 10)
        # The loop asks for more behind it; before the job ran, it asked for nothing.
        assert takes == [] or takes[0] == 1


async def test_jobs_that_come_while_the_offer_is_withdrawn_run_once(redis: Redis) -> None:
    ran = Ran()
    async with rigged(redis, ran.app) as rig:
        for number in range(150):
            enqueued = asyncio.create_task(rig.enqueue("note", number))
            for _ in range(number % 7):  # at another moment each time
                await asyncio.sleep(0)
            rig.state.wake.set()
            await enqueued
        await wait_until(lambda: len(ran) >= 150, 10)
        await wait_until(rig.holds_nothing, 10)
        assert sorted(ran) == list(range(150))
        assert await rig.processed() == 150


async def test_a_wait_that_is_ended_before_redis_heard_of_it_ends_all_the_same(redis: Redis) -> None:
    async with Rig.of(redis, Ran().app) as rig:
        alone = Alone(rig)
        alone.offer()
        await wait_until(lambda: blocked(redis), 10)
        assert await alone.handover.withdraw()
        assert alone.handover._free is not None
        connection, _ = alone.handover._free
        send, held_up, asked = connection.send_packed_command, asyncio.Event(), asyncio.Event()
        unblock = alone.handover._unblock

        async def late(packet: Any) -> None:
            await held_up.wait()
            await send(packet)

        async def too_early(standing: Any) -> None:
            await unblock(standing)
            asked.set()

        connection.send_packed_command = late
        alone.handover._unblock = too_early  # type: ignore[method-assign]
        alone.offer()
        await asyncio.sleep(0)
        withdrawing = asyncio.create_task(alone.handover.withdraw())
        await asked.wait()
        held_up.set()
        assert await withdrawing
        await wait_until(lambda: not_blocked(redis), 10, "nobody waits")
        assert alone.brought == []


async def test_what_was_taken_in_the_moment_of_the_withdrawal_is_passed_on(redis: Redis) -> None:
    async with Rig.of(redis, Ran().app) as rig:
        alone = Alone(rig)
        alone.offer()
        await wait_until(lambda: blocked(redis), 10)
        # A foreign job, for which no token comes: the end of the wait takes it.
        await rig.redis.lpush(KEYS.queue("default"), b"foreign")
        assert await alone.handover.withdraw()
        (taken,) = alone.brought
        assert [entry.payload for entry in taken.entries] == [b"foreign"]
        assert await rig.held() == 1


async def test_an_offer_that_nobody_reads_any_more_takes_nothing(redis: Redis, redis_server: RedisServer) -> None:
    """RACE the worker gave its connection up, and Redis does not know it yet when the token comes."""
    ran = Ran()
    async with rigged(redis, ran.app) as rig, Redis.from_url(redis_server.url, protocol=3) as forsaken:
        await wait_until(lambda: rig.arrivals_armed, 10)
        rig.task.cancel()
        await asyncio.wait({rig.task})
        await wait_until(lambda: not_blocked(redis), 10)
        connection: Any = await forsaken.connection_pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py
        take = rig.life.scripts.take_command(["default"], 5, 1, {})
        await connection.send_packed_command(connection.pack_commands([("BLPOP", KEYS.wake("default"), "30"), take]))
        await wait_until(lambda: blocked(redis), 10)
        rig.fetch._number, rig.fetch._doubtful = 6, True
        rig.start()
        await wait_until(lambda: rig.arrivals_armed, 10)
        await rig.enqueue("note", 1)
        assert await connection.read_response() is not None, "its token"
        assert await connection.read_response() == [b"OK", []]
        await wait_until(lambda: ran == [1], 10)
        await wait_until(rig.holds_nothing, 10)
        await connection.disconnect()


async def test_jobs_that_reach_a_worker_late_run_once_if_they_are_still_its_own(redis: Redis) -> None:
    """RACE the process was stopped between the take and its answer."""
    ran = Ran()
    async with rigged(redis, ran.app) as rig:
        await wait_until(lambda: rig.arrivals_armed, 10)
        rig.life.known_alive_at -= 100
        await rig.enqueue("note", 1)
        await wait_until(lambda: ran == [1], 10)
        await wait_until(rig.holds_nothing, 10)
        assert ran == [1]


async def test_jobs_that_reach_a_worker_late_are_not_begun_if_others_have_them(redis: Redis) -> None:
    ran = Ran()
    async with Rig.of(redis, ran.app) as rig:
        await rig.enqueue("note", 1)
        taken = await rig.life.scripts.take(["default"], 1, 1)
        await rescue(rig.life.fleet, rig.life.worker, "", Death(vouched=True))
        rig.life.known_alive_at -= 100
        rig.fetch._handed(taken)
        assert rig.executor.held == {}
        with pytest.raises(StaleEpoch):
            await rig.fetch._look_for_unknown()
        assert await redis.llen(KEYS.queue("default")) == 1


async def test_a_redis_that_refuses_to_end_the_wait_loses_nothing(redis: Redis, redis_server: RedisServer) -> None:
    ran = Ran()
    await cast("Any", redis).execute_command(
        "ACL", "SETUSER", "meek", "on", ">x", "~*", "&*", "+@all", "-client|unblock"
    )
    url = redis_server.url.replace("redis://", "redis://meek:x@")
    async with Redis.from_url(url, protocol=3) as meek, rigged(redis, ran.app, through=meek) as rig:
        for number in range(20):
            rig.state.wake.set()
            await rig.enqueue("note", number)
        await wait_until(lambda: len(ran) >= 20, 10)
        await wait_until(rig.holds_nothing, 10)
        assert sorted(ran) == list(range(20))
    await cast("Any", redis).execute_command("ACL", "DELUSER", "meek")


async def test_an_offer_that_ends_late_leaves_the_connection_of_the_next_one_alone(redis: Redis) -> None:
    """RACE it was cut off and is still about to end when the next one stands."""
    async with Rig.of(redis, Ran().app) as rig:
        alone = Alone(rig)
        drop, may_end = alone.handover._drop, asyncio.Event()

        async def slow(connection: Any) -> None:
            await may_end.wait()
            await drop(connection)

        alone.handover._drop = slow  # type: ignore[method-assign]
        alone.offer()
        await wait_until(lambda: blocked(redis), 10)
        first = alone.handover._standing
        assert first is not None
        assert first.task is not None
        first.task.cancel()
        alone.offer(6)
        may_end.set()
        await asyncio.wait({first.task})
        await rig.enqueue("note", 1)
        await wait_until(lambda: alone.brought != [], 10)
        assert await alone.handover.withdraw()
        assert [entry.number for taken in alone.brought for entry in taken.entries] == [6]


async def test_silence_on_the_connection_that_waits_is_an_error_and_no_answer(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobworker.runtime.handover._ANSWER_SECONDS", 0.05)
    async with Rig.of(redis, Ran().app) as rig:
        alone = Alone(rig)
        alone.offer()
        await wait_until(lambda: blocked(redis), 10)
        assert await alone.handover.withdraw()
        assert alone.handover._free is not None
        connection, _ = alone.handover._free

        async def swallowed(_packet: Any) -> None:
            """Sent into a network that lets nothing through."""

        connection.send_packed_command = swallowed
        monkeypatch.setattr("jobworker.runtime.handover.POLL_SECONDS", 0.05)
        alone.offer()
        await wait_until(alone.over.is_set, 10)
        with pytest.raises(TimeoutError):
            await alone.handover.withdraw()
