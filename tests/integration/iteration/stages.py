"""Where an iterating job may run: on a worker with a real Redis, or in the testing kit: with the same promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson
from redis.asyncio import Redis

from jobworker import App, IteratingJob
from jobworker.protocol.payload import JobId
from jobworker.testing import Jobs, capture
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig
from tests.waiting import wait_until

BeforeRetry = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """What is done before a retry where the test does not say."""


class Stage(Protocol):
    """Runs the jobs of one application. A job is enqueued by its name, and waits until `finish` lets it run."""

    async def enqueue(self, name: str, *args: Any) -> JobId:
        """Let one wait."""
        ...

    async def cancel(self, jid: JobId) -> None:
        """Cancel one that waits or runs."""
        ...

    async def finish(self, before_retry: BeforeRetry = nothing) -> list[str]:
        """Run all that waits, and what failed once more, until nothing is left; the errors on the way."""
        ...


class OnWorker:
    """A worker's own parts, in the test's event loop."""

    def __init__(self, rig: Rig, app: App) -> None:
        self.rig = rig
        self._app = app
        self._errors: list[str] = []

    async def enqueue(self, name: str, *args: Any) -> JobId:
        return await self._app.client.enqueue(name, args)

    async def cancel(self, jid: JobId) -> None:
        await self._app.client.cancel(jid)

    async def finish(self, before_retry: BeforeRetry = nothing) -> list[str]:
        if self.rig.task.done():
            self.rig.start()
        await wait_until(lambda: self._nothing_left(before_retry), 30)
        errors, self._errors = self._errors, []
        return errors

    async def _nothing_left(self, before_retry: BeforeRetry) -> bool:
        redis = self.rig.redis
        for raw in cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1)):
            body = orjson.loads(raw)
            self._errors.append(f"{body['error_class']}: {body['error_message']}")
            await before_retry()
            await redis.zrem(KEYS.retry, raw)
            await redis.lpush(KEYS.queue("default"), raw)
        # Of one moment: a job that went on between two looks would be in neither.
        async with redis.pipeline(transaction=True) as looks:
            looks.execute_command("LLEN", KEYS.queue("default"))
            looks.execute_command("ZCARD", KEYS.retry)
            looks.execute_command("HLEN", KEYS.working(self.rig.life.worker))
            left = await looks.execute()
        return not any(left) and self.rig.fetch.load == 0


class InKit:
    """`jobworker.testing`."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    async def enqueue(self, name: str, *args: Any) -> JobId:
        return await self.jobs.client.enqueue(name, args)

    async def cancel(self, jid: JobId) -> None:
        self.jobs.cancel(jid)

    async def finish(self, before_retry: BeforeRetry = nothing) -> list[str]:
        errors: list[str] = []
        await self.jobs.run_all()
        while retries := self.jobs.retries:
            errors += [str(job.error) for job in retries]
            await before_retry()
            await self.jobs.advance(days=1)
        return errors


@asynccontextmanager
async def on_worker(redis: Redis, app: App) -> AsyncIterator[OnWorker]:
    address = redis.connection_pool.connection_kwargs
    app.connect_to(f"redis://{address['host']}:{address['port']}/0", "")
    async with Rig.of(redis, app, concurrency=1) as rig:
        try:
            yield OnWorker(rig, app)
        finally:
            await app.close()


@asynccontextmanager
async def in_kit(app: App) -> AsyncIterator[InKit]:
    with capture(app, raise_errors=False) as jobs:
        yield InKit(jobs)


def of_kind(kind: str, plain: type[IteratingJob]) -> type[IteratingJob]:
    """A class of its own that does the same, in a thread or on the event loop. An item may answer with `Wait`."""

    def each_plain(self: Any, *args: Any) -> None:
        wait = plain.each_iteration(self, *args)
        if wait is not None:
            time.sleep(wait.seconds)

    async def each_async(self: Any, *args: Any) -> None:
        wait = plain.each_iteration(self, *args)
        if wait is not None:
            await asyncio.sleep(wait.seconds)

    each = each_async if kind == "async" else each_plain
    return type(f"{kind.title()}{plain.__name__}", (plain,), {"each_iteration": each})


@dataclass(frozen=True, slots=True)
class Wait:
    """An item takes so long, without holding up others."""

    seconds: float
