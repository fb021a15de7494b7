"""Due jobs start on time, whoever leads, however many they are; nobody who idles costs Redis much."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import pytest
from redis.asyncio import Redis

from jobworker import App, Client
from jobworker.protocol import payload as payloads
from jobworker.protocol.cancellation import end
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Epoch, Finished, Number, Outcome, WorkerId
from jobworker.protocol.scheduling import DUE, SCHEDULE
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from jobworker.runtime.deaths import Deaths
from jobworker.runtime.life import Life
from jobworker.runtime.link import Link
from jobworker.runtime.rescue import Watch
from jobworker.runtime.scheduler import Pace, Scheduler
from jobworker.runtime.settings import Settings
from jobworker.runtime.state import WorkerState
from tests.integration.worker.conftest import StartWorker, Traces
from tests.redis_server import RedisServer
from tests.waiting import wait_until

KEYS = Keys()
ASLEEP = Pace(period=3600, lease=3600)

Start = Callable[..., AbstractAsyncContextManager[Scheduler]]


@pytest.fixture
def start(redis_server: RedisServer) -> Start:
    """Schedulers in the test's own loop, each with a connection of its own."""

    @asynccontextmanager
    async def started(name: str = "a", pace: Pace = ASLEEP) -> AsyncIterator[Scheduler]:
        async with Redis.from_url(redis_server.url, protocol=3) as redis:
            link = Link("redis")
            life = Life(redis, KEYS, WorkerId(name), Settings(), WorkerState())
            await life.begin()
            watch, deaths = Watch(life, link), Deaths(redis, KEYS, App().jobs, link)
            scheduler = Scheduler(life, link, watch, deaths, pace)
            tasks = [asyncio.create_task(loop.run()) for loop in (watch, deaths, scheduler)]
            try:
                yield scheduler
            finally:
                await end(tasks)

    return started


async def depth(redis: Redis, queue: str = "default") -> int:
    return await redis.llen(KEYS.queue(queue))


async def leader(redis: Redis) -> str | None:
    name = await cast("Awaitable[bytes | None]", redis.get(KEYS.scheduler))
    return None if name is None else name.decode()


async def leads(redis: Redis, worker: str) -> bool:
    # It listens before it sleeps: from here on no nudge is lost.
    listening = await redis.pubsub_numsub(KEYS.due)
    return await leader(redis) == worker and listening[0][1] > 0


def job(name: str, queue: str = "default") -> bytes:
    return payloads.new("Import", [name], queue=queue, now=0.0).to_json()


async def test_sleeping_scheduler_wakes_for_a_job_that_is_due_sooner_than_it_knew(redis: Redis, start: Start) -> None:
    async with start():
        await wait_until(lambda: leads(redis, "a"))
        due = time.time() + 0.2
        await SCHEDULE(redis, [KEYS.schedule], [KEYS.due, due, job("x")])
        await wait_until(lambda: depth(redis), 20)  # it would sleep for an hour
        assert time.time() >= due


async def test_sleeping_scheduler_wakes_for_a_retry_that_is_due_soon(redis: Redis, start: Start) -> None:
    worker = WorkerScripts(redis, KEYS, WorkerId("w"), Epoch("1"), "f")
    await worker.register(60, {})
    await FleetScripts(redis, KEYS).enqueue("default", [job("x")])
    await worker.take(["default"], 1, 1)
    async with start():
        await wait_until(lambda: leads(redis, "a"))
        due = time.time() + 0.2
        await worker.finish([Finished(Number(1), "default", Outcome.RETRY, due, job("x"), announced=True)])
        await wait_until(lambda: depth(redis), 20)
        assert time.time() >= due


async def test_who_ends_hands_over_at_once(redis: Redis, start: Start) -> None:
    async with start():
        await wait_until(lambda: leads(redis, "a"))
    async with start("b"):
        await wait_until(lambda: leads(redis, "b"), 20)  # the lease would last for an hour


async def test_who_lost_the_lease_while_it_was_stopped_follows(redis: Redis, start: Start) -> None:
    async with start(pace=Pace(period=0.05, lease=3600)) as scheduler:
        await wait_until(lambda: leads(redis, "a"))
        await redis.set(KEYS.scheduler, "b", px=3_600_000)
        await wait_until(lambda: not scheduler.leading)
        assert await leader(redis) == "b"
    assert await leader(redis) == "b", "nor does it give up what is not its own"


async def test_lone_idle_worker_asks_with_one_call(redis: Redis, start: Start) -> None:
    async with start(pace=Pace(period=0.02, lease=60)):
        await wait_until(lambda: leads(redis, "a"))
        async with redis.monitor() as monitor:
            seen = [await monitor.next_command() for _ in range(60)]
    ours = [command["command"].split()[:2] for command in seen if command["client_type"] != "lua"]
    assert ours
    assert all(command == ["EVALSHA", DUE.digest] for command in ours), ours


async def test_of_many_schedulers_one_looks_after_due_jobs(redis: Redis, start: Start) -> None:
    names = ["a", "b", "c", "d", "e"]
    async with start("a"), start("b"), start("c"), start("d"), start("e"):
        await wait_until(lambda: leader(redis))
        (first,) = [name for name in names if await leader(redis) == name]
        await wait_until(lambda: leads(redis, first))
        assert (await redis.pubsub_numsub(KEYS.due))[0][1] == 1, "and only it hears the nudges"


async def test_hundred_thousand_that_are_due_at_once_move_while_redis_serves_others(
    redis: Redis, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    many = 100_000
    strange = {b"not json %d" % n: 1.0 for n in range(5)}
    for at in range(0, many, 10_000):
        due_set = KEYS.schedule if at % 20_000 else KEYS.retry
        await redis.zadd(due_set, {job(f"{n}", f"q{n % 7}"): float(n) for n in range(at, at + 10_000)})
    await redis.zadd(KEYS.retry, strange)
    await redis.slowlog_reset()
    before = await redis.config_get("slowlog-log-slower-than")
    await redis.config_set("slowlog-log-slower-than", 10_000)
    began = time.monotonic()
    waits: list[float] = []

    async def all_moved() -> bool:
        asked = time.monotonic()
        left = await redis.zcard(KEYS.schedule) + await redis.zcard(KEYS.retry)
        waits.append(time.monotonic() - asked)
        return left == 0

    async with start():
        await wait_until(all_moved, 50)
    seconds = time.monotonic() - began
    slow = [entry["duration"] / 1000 for entry in await redis.slowlog_get(100) if b"EVAL" in entry["command"]]
    await redis.config_set("slowlog-log-slower-than", str(before["slowlog-log-slower-than"]))
    with capsys.disabled():
        print(  # noqa: T201  # a figure for the reader
            f"\n100,000 due jobs moved in {seconds:.1f} s; scripts over 10 ms: {len(slow)}, the longest "
            f"{max(slow, default=0):.0f} ms; others waited {max(waits) * 1000:.0f} ms at most"
        )
    assert sum([await depth(redis, f"q{n}") for n in range(7)]) == many
    assert await redis.zcard(KEYS.dead) == len(strange)
    assert len(waits) > 20, "others were not served in between"


# ── real processes ───────────────────────────────────────────────────────────
async def test_jobs_start_when_they_are_due_and_not_before(
    redis: Redis, client: Client, start_worker: StartWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start_worker("a")
    await worker.registered(redis)
    await wait_until(lambda: leads(redis, "a"), 15)
    dues = []
    for n in range(30):
        delay = 0.3 + 0.1 * ((n * 7) % 30)
        dues.append(time.time() + delay)
        await client.schedule(delay, "note_time", [str(n)])

    async def all_ran() -> bool:
        return await redis.hlen("test:times") == len(dues)

    await wait_until(all_ran, 30)
    times = [float(await redis.hget("test:times", str(n)) or 0) for n in range(len(dues))]
    late = sorted(ran - due for ran, due in zip(times, dues, strict=True))
    with capsys.disabled():
        print(  # noqa: T201  # a figure for the reader
            f"\nscheduled jobs: {1000 * late[len(late) // 2]:.0f} ms late (median), {1000 * late[-1]:.0f} ms at most"
        )
    assert late[0] >= -0.01, "a job started before it was due"


async def test_when_the_leader_is_killed_another_takes_over(
    redis: Redis, traces: Traces, start_worker: StartWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = {name: start_worker(name) for name in ("a", "b")}
    for worker in workers.values():
        await worker.registered(redis)
    first = await wait_until(lambda: leader(redis), 15)
    assert first is not None
    workers[first].signal(signal.SIGKILL)
    await workers[first].exit_code()
    killed = time.monotonic()
    await redis.zadd(KEYS.schedule, {payloads.new("count_async", [1], queue="default", now=0.0).to_json(): time.time()})
    await wait_until(lambda: traces("async"), 40)
    with capsys.disabled():
        print(  # noqa: T201  # a figure for the reader
            f"\na due job ran {time.monotonic() - killed:.1f} s after the SIGKILL of the leader"
        )
    assert await leader(redis) != first


async def test_quiet_worker_moves_due_jobs_too(redis: Redis, fleet: FleetScripts, start_worker: StartWorker) -> None:
    worker = start_worker("a")
    await worker.registered(redis)
    await fleet.quiet(worker.identity, "test")
    await redis.zadd(KEYS.schedule, {job("x"): time.time()})
    await wait_until(lambda: depth(redis), 30)
    assert (await worker.activity(redis)).quiet == "test"
