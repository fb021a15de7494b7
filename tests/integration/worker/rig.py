"""A worker without its process: life, executor and the loop that takes jobs, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from redis.asyncio import Redis

from jobworker import App, Client
from jobworker.protocol.cancellation import end
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.runtime.executor import Executor
from jobworker.runtime.fetch import Fetch
from jobworker.runtime.keeper import RedisKeeper
from jobworker.runtime.life import Life
from jobworker.runtime.link import Link
from jobworker.runtime.order import QueueOrder
from jobworker.runtime.settings import Order, Settings, parse_queues
from jobworker.runtime.state import WorkerState
from jobworker.runtime.tracking import Tracking


@dataclass
class Rig:
    """``redis`` is the test's connection; the worker may have one of its own, to be cut."""

    redis: Redis
    state: WorkerState
    life: Life
    executor: Executor
    fetch: Fetch
    task: asyncio.Task[None]

    @classmethod
    @asynccontextmanager
    async def of(
        cls,
        redis: Redis,
        app: App,
        *,
        through: Redis | None = None,
        concurrency: int = 5,
        worker: str = "a",
        queues: str = "default",
    ) -> AsyncIterator[Self]:
        """Registered, and not taking jobs yet: ``start`` does."""
        connection, keys, state, link = through or redis, Keys(), WorkerState(), Link("redis")
        life = Life(connection, keys, WorkerId(worker), Settings(), state, app.dead_set)
        life.iterating = app.jobs.iterating
        await life.begin()
        tracking = Tracking(connection, link)
        executor = Executor(app.jobs, state, lambda run: RedisKeeper(life, link, run, tracking), concurrency)
        order = QueueOrder(parse_queues(queues), Order.STRICT)
        fetch = Fetch(life, link, state, executor, tracking, order, lambda: None)
        task = asyncio.create_task(asyncio.sleep(0))
        rig = cls(redis, state, life, executor, fetch, task)
        listening = asyncio.create_task(tracking.run())
        try:
            yield rig
        finally:
            await end([rig.task, listening, *(run.task for run in executor.running.values() if run.task is not None)])
            assert rig.task.done()

    def start(self) -> None:
        self.task = asyncio.create_task(self.fetch.run())

    async def enqueue(self, name: str, *args: Any) -> str:
        return await Client(self.redis).enqueue(name, args)

    async def held(self) -> int:
        return len(await self.life.fleet.held(self.life.worker))

    @property
    def arrivals_armed(self) -> bool:
        """Is it going to be told of jobs, and not looking at this moment?"""
        watched = self.fetch._arrivals._watched
        return watched is not None and watched.armed and not self.state.wake.is_set()

    async def holds_nothing(self) -> bool:
        return await self.held() == 0 and self.fetch.load == 0

    async def processed(self) -> int:
        return int(await self.redis.get(self.life.keys.stat("processed")) or 0)


@asynccontextmanager
async def rigged(
    redis: Redis,
    app: App,
    *,
    through: Redis | None = None,
    concurrency: int = 5,
    worker: str = "a",
    queues: str = "default",
) -> AsyncIterator[Rig]:
    """A rig that takes jobs."""
    async with Rig.of(redis, app, through=through, concurrency=concurrency, worker=worker, queues=queues) as rig:
        rig.start()
        yield rig
