"""What client middleware adds to a job is read where the job runs, also in jobs that it enqueues and after a retry."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar

import pytest
from redis.asyncio import Redis

from jobworker import App, Context, IteratingJob, OutgoingJob, context, list_items
from jobworker.protocol.job_sets import JobSet, page, retry
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


def application(url: str, seen: list[str]) -> App:
    """Jobs that enqueue each other, and one piece of code on each side that carries the tenant."""
    app = App(url)

    @app.client_middleware
    def send_tenant(job: OutgoingJob) -> Iterator[None]:
        job.fields["tenant"] = TENANT.get()
        yield

    @app.middleware
    def take_tenant(job: Context) -> Iterator[None]:
        token = TENANT.set(job.extra.get("tenant", "nobody"))
        try:
            yield
        finally:
            TENANT.reset(token)

    def see(kind: str) -> None:
        seen.append(f"{kind} {TENANT.get()} {context().extra['tenant']}")

    @app.job
    async def asynchronous() -> None:
        see("async")
        await plain.enqueue_many([()])

    @app.job
    def plain() -> None:
        see("plain")
        Iterating.enqueue_sync()

    @app.job
    class Iterating(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items([1], cursor)

        def each_iteration(self, _: int) -> None:
            see("iterating")
            if seen.count(seen[-1]) == 1:
                raise ValueError("again")

    return app


async def retries(redis: Redis) -> int:
    return int(await redis.zcard(KEYS.retry))


async def test_tenant_reaches_jobs_of_jobs_and_further_tries(redis: Redis, redis_server: RedisServer) -> None:
    seen: list[str] = []
    app = application(redis_server.url, seen)
    async with rigged(redis, app) as rig:
        token = TENANT.set("ada")
        await app.client.enqueue("asynchronous")
        TENANT.reset(token)
        await wait_until(lambda: retries(redis), 5)
        await retry(redis, KEYS, (await page(redis, KEYS, JobSet.RETRY, 0, 10)).entries)
        await wait_until(lambda: len(seen) == 4, 5)
        await wait_until(rig.holds_nothing, 5)
    await app.close()
    assert seen == ["async ada ada", "plain ada ada", "iterating ada ada", "iterating ada ada"]


async def test_job_of_a_foreign_producer_has_what_its_payload_has(redis: Redis) -> None:
    app, seen = App(), []

    @app.job
    async def look() -> None:
        seen.append(dict(context().extra))

    async with rigged(redis, app):
        await redis.lpush(KEYS.queue("default"), b'{"class":"look","args":[],"jid":"0123456789abcdef01234567","x":[1]}')
        await wait_until(lambda: seen, 5)
    assert seen == [{"x": [1]}]
