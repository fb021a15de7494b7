"""Jobs run once each, and what cannot run is kept where people find it."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import cast

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol import payload as payloads
from tests.integration.worker.conftest import KEYS, StartWorker, Traces
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def members(redis: Redis, name: str) -> list[bytes]:
    return cast("list[bytes]", await redis.zrange(name, 0, -1))


async def test_async_and_plain_jobs_all_run_exactly_once_on_two_workers(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    workers = [start_worker("a", "-c", "8"), start_worker("b", "-c", "8")]
    for worker in workers:
        await worker.registered(redis)
    await asyncio.gather(
        client.enqueue_many("count_async", [[n] for n in range(1500)]),
        client.enqueue_many("count_plain", [[n] for n in range(1500)]),
    )

    async def processed() -> bool:
        return int(await redis.get(KEYS.stat("processed")) or 0) == 3000

    await wait_until(processed, 40)
    assert await traces("async") == {str(n): 1 for n in range(1500)}
    assert await traces("plain") == {str(n): 1 for n in range(1500)}
    for worker in workers:
        await worker.registered(redis)  # one alone may have done all before the other was there to hear a signal
        worker.signal(signal.SIGTERM)
    assert [await worker.exit_code() for worker in workers] == [0, 0]
    assert await redis.smembers(KEYS.workers) == set()


async def test_payload_that_is_not_json_is_buried_and_the_worker_goes_on(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await redis.lpush(KEYS.queue("default"), b"{broken")
    await client.enqueue("count_async", [1])
    await wait_until(lambda: traces("async"), 15)
    await wait_until(lambda: members(redis, KEYS.dead), 5)
    assert await members(redis, KEYS.dead) == [b"{broken"]
    assert "not JSON" in worker.log


async def test_unknown_class_is_retried_and_the_message_names_it_and_the_known_ones(
    redis: Redis, client: Client, start_worker: StartWorker
) -> None:
    start_worker("a")
    await client.enqueue("Nobody", [1])
    (raw,) = await wait_until(lambda: members(redis, KEYS.retry), 15)
    job = payloads.parse(raw)
    assert job.extra["error_class"] == "UnknownJob"
    assert "Nobody" in job.extra["error_message"]
    assert "count_async" in job.extra["error_message"]
    assert job.retry_count == 0


async def test_failed_job_runs_again_when_its_retry_is_due(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    start_worker("a")
    await client.enqueue("fails_once", ["x"], retry=2)
    (raw,) = await wait_until(lambda: members(redis, KEYS.retry), 15)
    assert payloads.parse(raw).extra["error_message"] == "the first try fails"
    await redis.zadd(KEYS.retry, {raw: time.time()})
    await wait_until(lambda: traces("done"), 10)
    assert await traces("started") == {"x": 2}


async def test_scheduled_job_runs_when_due_and_not_before(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    await client.schedule(0.3, "count_async", [1])
    await client.schedule(3600, "count_async", [2])
    start_worker("a")
    await wait_until(lambda: traces("async"), 15)
    assert await traces("async") == {"1": 1}
    assert await redis.zcard(KEYS.schedule) == 1


async def test_job_of_a_producer_without_wake_tokens_is_noticed(
    redis: Redis, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await worker.registered(redis)
    body = payloads.new("count_async", [1], queue="default", now=time.time()).to_json()
    await redis.lpush(KEYS.queue("default"), body)
    await wait_until(lambda: traces("async"), 2)
