"""Answers of Redis that are lost on their way, at each of the worker's calls: every job runs once, none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, IteratingJob, list_items
from jobworker.client.connection import connect
from jobworker.client.control import carry_out_async
from jobworker.protocol.inspection import worker_reports
from jobworker.protocol.job_states import JobState
from jobworker.protocol.progress import job_progress
from jobworker.protocol.scripts import BEAT, CHECKPOINT, FINISH, GIVE_BACK, REGISTER, TAKE, Script
from tests.cutting_proxy import CuttingProxy
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
async def proxy(redis: Redis, redis_server: RedisServer) -> AsyncIterator[CuttingProxy]:
    for script in (BEAT, CHECKPOINT, FINISH, GIVE_BACK, REGISTER, TAKE):
        await redis.script_load(script.source)  # so that the first call is the one that counts
    async with CuttingProxy(redis_server.port) as between:
        yield between


@pytest.fixture
async def through(proxy: CuttingProxy) -> AsyncIterator[Redis]:
    async with connect(proxy.url) as redis:
        yield redis


class Notes:
    """An application and what its jobs did."""

    def __init__(self) -> None:
        self.app = App()
        self.ran: list[int] = []
        self.items: list[int] = []
        self.gate = asyncio.Event()
        notes = self

        @self.app.job
        async def note(number: int) -> None:
            notes.ran.append(number)

        @self.app.job(name="Items")
        class _Items(IteratingJob):
            checkpoint_seconds = 0.0

            def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
                return list_items(range(number), cursor)

            async def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # as every item
                await asyncio.sleep(0.002)
                notes.items.append(item)

        @self.app.job
        async def gated(number: int) -> None:
            await notes.gate.wait()
            notes.ran.append(number)


@pytest.mark.parametrize("script", [TAKE, FINISH], ids=["take", "finish"])
async def test_every_job_runs_once_when_an_answer_is_lost(
    redis: Redis, proxy: CuttingProxy, through: Redis, script: Script
) -> None:
    notes = Notes()
    async with rigged(redis, notes.app, through=through) as rig:
        for number in range(30):
            await rig.enqueue("note", number)
            if number in {5, 15}:
                proxy.lose = script.digest.encode()
        await wait_until(lambda: len(notes.ran) >= 30, 15)

        async def all_counted() -> bool:
            return await rig.processed() == 30

        await wait_until(all_counted, 5)
        await wait_until(rig.holds_nothing, 5)
    assert proxy.lost > 0
    assert sorted(notes.ran) == list(range(30))


async def test_interrupted_job_goes_back_once_when_the_answer_is_lost(
    redis: Redis, proxy: CuttingProxy, through: Redis
) -> None:
    notes = Notes()
    async with rigged(redis, notes.app, through=through) as rig:
        await rig.enqueue("Items", 2000)
        await wait_until(lambda: len(notes.items) > 20, 5)
        proxy.lose = GIVE_BACK.digest.encode()
        rig.state.stop()
        await wait_until(rig.holds_nothing, 10)
        await asyncio.wait_for(rig.fetch.drained.wait(), 5)
    assert proxy.lost == 1
    assert await redis.llen(KEYS.queue("default")) == 1
    assert notes.items == list(range(len(notes.items)))


async def test_no_item_is_lost_or_walked_twice_when_the_answer_to_a_checkpoint_is_lost(
    redis: Redis, proxy: CuttingProxy, through: Redis
) -> None:
    notes = Notes()
    async with rigged(redis, notes.app, through=through) as rig:
        jid = await rig.enqueue("Items", 1200)
        await wait_until(lambda: len(notes.items) > 20, 5)
        proxy.lose = CHECKPOINT.digest.encode()
        await wait_until(lambda: proxy.lost, 10)

        async def done() -> bool:
            return await rig.processed() == 1

        await wait_until(done, 15)
        assert await redis.hget(KEYS.progress(jid), "processed") == b"1200"
    assert notes.items == list(range(1200))


async def test_all_of_a_thousand_interrupted_jobs_go_back(redis: Redis) -> None:
    """More than one call carries: none may wait for something to happen that will not."""
    notes = Notes()
    async with rigged(redis, notes.app, concurrency=1000) as rig:
        for _ in range(1000):
            await rig.enqueue("Items", 100_000)
        await wait_until(lambda: len(rig.executor.running) == 1000, 15)
        rig.state.stop()
        await wait_until(rig.holds_nothing, 15)
        assert rig.fetch.drained.is_set()
    assert await redis.llen(KEYS.queue("default")) == 1000


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "forgetful") as server:
        yield server


async def test_jobs_are_held_anew_though_the_answer_to_the_registration_is_lost(forgetful: RedisServer) -> None:
    notes = Notes()
    async with (
        CuttingProxy(forgetful.port) as proxy,
        connect(proxy.url) as through,
        connect(forgetful.url) as redis,
        rigged(redis, notes.app, through=through) as rig,
    ):
        await rig.enqueue("gated", 1)
        await wait_until(lambda: len(rig.executor.running) == 1, 5)
        forgetful.restart()
        await redis.connection_pool.disconnect()
        await redis.script_load(REGISTER.source)
        proxy.lose = REGISTER.digest.encode()
        await wait_until(lambda: proxy.lost, 10)

        async def held() -> bool:
            return await rig.held() == 1 and not rig.life.stale

        await wait_until(held, 10)
        notes.gate.set()

        async def counted() -> bool:
            return await rig.processed() == 1

        await wait_until(counted, 10)
    assert notes.ran == [1]


async def test_job_that_ended_while_redis_forgot_it_would_run_again_after_a_crash(
    forgetful: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end was never acknowledged: what is held anew is the job itself, on its own queue."""
    notes = Notes()
    async with (
        connect(forgetful.url) as through,
        connect(forgetful.url) as redis,
        rigged(redis, notes.app, through=through) as rig,
    ):
        await rig.enqueue("gated", 1)
        await wait_until(lambda: len(rig.executor.running) == 1, 5)
        seen: list[Any] = []
        begin = rig.life.begin

        async def note_what_is_held(held: Sequence[Any] = ()) -> None:
            await begin(held)
            seen.extend(await rig.life.fleet.held(rig.life.worker))

        monkeypatch.setattr(rig.life, "begin", note_what_is_held)
        forgetful.stop()
        notes.gate.set()
        await wait_until(lambda: not rig.executor.running, 10)
        forgetful.start()
        await redis.connection_pool.disconnect()
        await wait_until(lambda: seen, 10)
        assert [(entry.queue, orjson.loads(entry.payload)["args"]) for entry in seen] == [("default", [1])]

        async def counted() -> bool:
            return await rig.processed() == 1

        await wait_until(counted, 10)
        assert await redis.keys("*queue:") == []


class Steady(IteratingJob):
    """Writes a checkpoint after each item."""

    checkpoint_seconds = 0.01

    def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
        return list_items(range(1_000_000), cursor)

    async def each_iteration(self, item: int) -> None:  # noqa: ARG002  # only that it goes on matters
        await asyncio.sleep(0.01)


async def test_job_held_anew_is_shown_as_running_since_a_time_that_is_true(forgetful: RedisServer) -> None:
    app = App()
    app.job(name="Steady")(Steady)
    began = time.time()
    async with (
        connect(forgetful.url) as through,
        connect(forgetful.url) as redis,
        rigged(redis, app, through=through) as rig,
    ):
        jid = await rig.enqueue("Steady")
        await wait_until(lambda: len(rig.executor.running) == 1, 5)
        forgetful.restart()
        await redis.connection_pool.disconnect()

        async def told() -> Any:
            return await carry_out_async(redis, job_progress(KEYS, jid))

        found = await wait_until(told, 20, "a checkpoint in the Redis that forgot")
        assert (found.state, found.worker) == (JobState.RUNNING, rig.life.worker)
        [worker] = await worker_reports(redis, KEYS)
        assert [job.taken_at >= began - 5 for job in worker.jobs] == [True]
