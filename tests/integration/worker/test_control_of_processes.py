"""Real processes whose jobs are paused and cancelled: several of a pod, and one that is killed while jobs leave it."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis

from jobworker import App, Client, IteratingJob, Standing, list_items
from jobworker.protocol.control import PARK
from jobworker.protocol.limits import inflight
from tests.cutting_proxy import CuttingProxy
from tests.integration.worker import pods
from tests.integration.worker.conftest import KEYS, Traces
from tests.integration.worker.pods import StartPod
from tests.integration.worker.rig import rigged
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis
start_pod = pods.start_pod  # a fixture

ROUNDS = 3


async def walked(redis: Redis, name: str) -> list[int]:
    return list(map(int, await cast("Awaitable[list[bytes]]", redis.lrange(f"test:items:{name}", 0, -1))))


async def all_walk(redis: Redis, names: list[str]) -> None:
    async def walking() -> bool:
        return all([await walked(redis, name) for name in names])

    await wait_until(walking, 30, f"the walks of {names}")


async def all_rest(redis: Redis, jids: list[str], log: str = "") -> None:
    async def resting() -> bool:
        parked = await cast("Awaitable[list[bytes]]", redis.hkeys(KEYS.parked))
        return {jid.decode() for jid in parked} == set(jids)

    await wait_until(resting, 30, f"all jobs rest; {log}")


async def is_empty(redis: Redis) -> bool:
    return not await redis.exists(KEYS.working("a"), KEYS.queue("default"), KEYS.retry, KEYS.parked)


async def test_jobs_of_all_processes_of_a_pod_are_paused_resumed_and_cancelled(
    redis: Redis, client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "2")
    names = list("wxyz")
    jids = [str(await client.enqueue("Steps", [name])) for name in names]
    await all_walk(redis, names)
    for jid in jids:
        assert (await client.pause(jid)).standing is Standing.RUNNING
    await all_rest(redis, jids, pod.log)

    async def idle() -> bool:
        return (await pod.activity(redis)).held == 0 and await inflight(redis, KEYS) == {}

    await wait_until(idle, 15)
    # A pod whose jobs rest is drained: they are no obstacle to its end.
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 0, pod.log
    again = start_pod("--processes", "2", "-c", "2")
    before = {name: len(await walked(redis, name)) for name in names}
    for jid in jids:
        assert (await client.resume(jid)).standing is Standing.PAUSED

    async def all_went_on() -> bool:
        return all([len(await walked(redis, name)) > before[name] for name in names])

    await wait_until(all_went_on, 30, again.log)
    for jid in jids:
        await client.cancel(jid)

    async def cancelled() -> bool:
        return (await traces("callbacks")).get("cancel") == len(jids) and await is_empty(redis)

    await wait_until(cancelled, 30, again.log)
    for name in names:
        steps = await walked(redis, name)
        assert steps == list(range(len(steps)))


async def test_no_job_is_lost_when_its_worker_is_killed_while_it_is_laid_aside(
    redis: Redis, client: Client, start_pod: StartPod
) -> None:
    draw = random.Random(7)
    jids: list[str] = []
    names: list[str] = []
    pod = start_pod("-c", "20")
    for number in range(ROUNDS):
        new = [f"{number}-{job}" for job in range(4)]
        started = [str(await client.enqueue("Steps", [name])) for name in new]
        await all_walk(redis, new)
        for jid in started:
            await client.pause(jid)
        # Some are laid aside by then, some are not, and some are being so.
        wanted = draw.randrange(len(started) + 1)
        async with asyncio.timeout(30):
            while await redis.hlen(KEYS.parked) < len(jids) + wanted:
                pass
        pod.signal(signal.SIGKILL)
        await pod.exit_code()
        jids += started
        names += new
        # The next life puts back what the last one held, takes it, and lays it aside.
        pod = start_pod("-c", "20")
        await all_rest(redis, jids, pod.log)
        assert await redis.llen(KEYS.queue("default")) == 0
    assert await inflight(redis, KEYS) == {}
    assert not await redis.exists(KEYS.dead, KEYS.retry)
    for jid in jids:
        await client.cancel(jid)

    async def over() -> bool:
        return await is_empty(redis)

    await wait_until(over, 30, pod.log)
    for name in names:
        steps = await walked(redis, name)
        # What was walked since the last checkpoint is walked again, and nothing is left out.
        assert sorted(set(steps)) == list(range(max(steps) + 1))


async def test_job_whose_parking_was_carried_out_and_never_answered_rests_once(
    redis: Redis, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobworker.jobs")
    app = App()
    items: list[int] = []

    @app.job
    class _Walk(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items(range(1_000_000), cursor)

        async def each_iteration(self, item: int) -> None:
            await asyncio.sleep(0.001)  # a million of them are not over before somebody asks
            items.append(item)

    async with (
        CuttingProxy(redis_server.port) as proxy,
        Redis.from_url(proxy.url, protocol=3) as through,
        rigged(redis, app, through=through) as rig,
    ):
        jid = await rig.enqueue("_Walk")
        await wait_until(lambda: items, 15)
        proxy.lose = PARK.digest.encode()
        await Client(redis).pause(jid)
        await all_rest(redis, [jid])
        await wait_until(rig.holds_nothing, 15)
        assert proxy.lost == 1
        assert [record.message for record in caplog.records if record.name == "jobworker.jobs"] == ["job paused"]
        assert await redis.llen(KEYS.queue("default")) == 0
        assert await inflight(redis, KEYS) == {}
        # The worker goes on with other jobs.
        walked_before = len(items)
        await Client(redis).resume(jid)
        await wait_until(lambda: len(items) > walked_before, 15)
        await Client(redis).cancel(jid)
        await wait_until(rig.holds_nothing, 15)
    assert items == list(range(len(items)))
