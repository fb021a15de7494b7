"""Death handlers hear of every job that failed for good, whoever finds out; what they raise harms nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import DISCARD, KILL, App, Client, DeadJob, DeadSet
from jobworker.protocol import payload as payloads
from jobworker.protocol.cancellation import end
from jobworker.protocol.deaths import DISCARDED_AT
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Epoch, WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from jobworker.runtime.deaths import CLAIM, Deaths
from jobworker.runtime.link import Link
from tests.integration.worker.rig import Rig, rigged
from tests.waiting import wait_until

KEYS = Keys()
Heard = list[DeadJob]


@asynccontextmanager
async def handlers_of(app: App, redis: Redis) -> AsyncIterator[Deaths]:
    """The loop that calls handlers, looking all the time: when to look is the scheduler's part."""
    deaths = Deaths(redis, KEYS, app.jobs, Link("redis"))

    async def look_again_and_again() -> None:
        while True:
            deaths.look()
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(deaths.run()), asyncio.create_task(look_again_and_again())]
    try:
        yield deaths
    finally:
        await end(tasks)


async def no_notice(redis: Redis) -> bool:
    return await redis.zcard(KEYS.deaths) == 0


async def dead_set(redis: Redis) -> list[payloads.Payload]:
    return [payloads.parse(raw) for raw in await cast("Awaitable[list[bytes]]", redis.zrange(KEYS.dead, 0, -1))]


def boom(*_: object) -> None:
    raise ValueError("no")


async def run_once(redis: Redis, app: App, name: str) -> None:
    """Let a worker run one job of ``app`` to its end."""
    async with rigged(redis, app) as rig:
        options = app.jobs.get(name).options
        await Client(redis).enqueue(name, [1], retry=options.retry, **options.fields)
        await wait_until(lambda: done(rig), 20)


async def done(rig: Rig) -> bool:
    return await rig.processed() > 0 and await rig.holds_nothing()


async def test_handlers_of_job_and_app_async_and_plain_hear_of_a_death_after_the_burial(redis: Redis) -> None:
    app = App()
    heard: list[tuple[str, str, bool]] = []
    seen = Heard()

    def exhausted(dead: DeadJob) -> None:
        heard.append(("the job's own", dead.jid, threading.current_thread() is threading.main_thread()))

    @app.on_death
    async def tell(dead: DeadJob) -> None:
        in_dead_set = [job.jid for job in await dead_set(redis)]
        heard.append(("async", dead.jid, in_dead_set == [dead.jid]))
        seen.append(dead)

    @app.on_death()
    def tell_plainly(dead: DeadJob) -> None:
        heard.append(("plain", dead.jid, threading.current_thread() is threading.main_thread()))

    app.job(retry=0, name="fails", retries_exhausted=exhausted)(boom)
    await run_once(redis, app, "fails")
    async with handlers_of(app, redis):
        await wait_until(lambda: no_notice(redis))
    (job,) = await dead_set(redis)
    assert heard == [("the job's own", job.jid, False), ("async", job.jid, True), ("plain", job.jid, False)]
    (dead,) = seen
    assert (dead.job_class, dead.args, dead.error_class, dead.error_message) == ("fails", [1], "ValueError", "no")
    assert (dead.kept, dead.poison) == (True, False)
    assert dead.died_at == job.extra["failed_at"]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        pytest.param({"retry": False}, False, id="retry false"),
        pytest.param({"retry": 0, "dead": False}, False, id="dead false"),
        pytest.param({"discard_on": ValueError}, False, id="discard_on"),
        pytest.param({"retry_in": lambda *_: DISCARD}, False, id="discarded by retry_in"),
        pytest.param({"kill_on": ValueError}, True, id="kill_on"),
        pytest.param({"retry_in": lambda *_: KILL}, True, id="killed by retry_in"),
    ],
)
async def test_every_way_to_fail_for_good_is_a_death(redis: Redis, options: dict[str, Any], kept: bool) -> None:  # noqa: FBT001  # a case
    app, heard = App(), Heard()
    app.on_death(heard.append)
    app.job(name="fails", **options)(boom)
    await run_once(redis, app, "fails")
    async with handlers_of(app, redis):
        await wait_until(lambda: no_notice(redis))
    assert [dead.kept for dead in heard] == [kept]
    assert (DISCARDED_AT in heard[0].extra) is not kept
    assert len(await dead_set(redis)) == kept
    assert await redis.zcard(KEYS.retry) == 0


async def test_who_has_no_handler_leaves_no_notice(redis: Redis) -> None:
    app = App()
    app.job(retry=0, name="fails")(boom)
    await run_once(redis, app, "fails")
    assert len(await dead_set(redis)) == 1
    assert await no_notice(redis)


async def test_handler_that_raises_is_told_and_the_others_are_called(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    app, heard = App(), Heard()
    app.on_death(boom)
    app.on_death(heard.append)
    app.job(retry=0, name="fails")(boom)
    await run_once(redis, app, "fails")
    async with handlers_of(app, redis):
        await wait_until(lambda: no_notice(redis))
    assert len(heard) == 1
    assert "a death handler raised" in caplog.text
    assert len(await dead_set(redis)) == 1, "and the job lies where it was"


async def bury(redis: Redis, worker: str, raw: bytes) -> None:
    """Let a worker die of a job that is poison after one death."""
    fleet = FleetScripts(redis, KEYS)
    life = WorkerScripts(redis, KEYS, WorkerId(worker), Epoch("1"), "f")
    await life.register(60, {"pod": "mailer-7"})
    await fleet.enqueue("default", [raw])
    await life.take(["default"], 1, 1)
    assert (await rescue(fleet, life.worker, "f", Death(vouched=True))).poisoned == 1


def killer(name: str = "killer", **extra: Any) -> bytes:
    return payloads.new(name, [1], queue="default", now=0.0).with_fields(jw_poison_after=1, **extra).to_json()


async def test_handlers_hear_of_poison_that_somebody_else_found(redis: Redis) -> None:
    app, heard = App(), Heard()
    app.on_death(heard.append)
    app.job(name="killer")(boom)
    await bury(redis, "w1", killer())
    async with handlers_of(app, redis):
        await wait_until(lambda: no_notice(redis))
    (dead,) = heard
    assert (dead.poison, dead.kept) == (True, True)
    assert "w1 on mailer-7, found dead at" in dead.error_message
    assert len(await dead_set(redis)) == 1


async def test_death_is_left_to_who_knows_the_job(redis: Redis) -> None:
    stranger, app, heard, misheard = App(), App(), Heard(), Heard()
    stranger.on_death(misheard.append)
    app.on_death(heard.append)
    app.job(name="known")(boom)
    await bury(redis, "w1", killer("known"))
    await bury(redis, "w2", killer("unknown"))
    async with handlers_of(stranger, redis), handlers_of(app, redis):
        await wait_until(lambda: heard)
    assert misheard == []
    left = await cast("Awaitable[list[bytes]]", redis.zrange(KEYS.deaths, 0, -1))
    assert [payloads.parse(raw).job_class for raw in left] == ["unknown"]


async def test_death_whose_worker_died_over_it_is_told_by_another_once_the_lease_ends(redis: Redis) -> None:
    app, heard = App(), Heard()
    app.on_death(heard.append)
    app.job(name="killer")(boom)
    await bury(redis, "w1", killer())
    waiting = redis.zrange(KEYS.deaths, 0, -1, withscores=True)
    ((notice, score),) = await cast("Awaitable[list[tuple[bytes, float]]]", waiting)
    both = await asyncio.gather(*(CLAIM(redis, [KEYS.deaths], [score, notice, 1]) for _ in range(2)))
    assert sorted(both) == [0, 1], "of two that claim a death one gets it"
    async with handlers_of(app, redis):
        await wait_until(lambda: no_notice(redis), 20)
    assert len(heard) == 1


async def test_dead_set_stays_within_the_bounds_of_the_app(redis: Redis) -> None:
    app = App(dead_set=DeadSet(max_jobs=3, max_age=timedelta(hours=1)))
    app.job(retry=0, name="fails")(boom)
    await redis.zadd(KEYS.dead, {b"old": 1.0})
    async with rigged(redis, app) as rig:
        for number in range(5):
            await Client(redis).enqueue("fails", [number], retry=0)

        async def all_failed() -> bool:
            return await rig.processed() == 5

        await wait_until(all_failed, 20)
    dead = await redis.zrange(KEYS.dead, 0, -1)
    assert len(dead) == 3
    assert b"old" not in dead
