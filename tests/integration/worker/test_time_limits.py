"""Jobs that take too long: cancelled where that can be done, told of where it cannot."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import timedelta
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, ConfigurationError, IteratingJob, context, list_items
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def retried(redis: Redis) -> list[dict[str, Any]]:
    return [orjson.loads(job) for job in cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))]


async def test_an_async_job_is_cancelled_and_tried_again(redis: Redis) -> None:
    app, cancelled = App(), asyncio.Event()

    @app.job(timeout=0.1)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with rigged(redis, app) as rig:
        await rig.enqueue("slow")
        await wait_until(lambda: retried(redis), 5)
        await wait_until(rig.holds_nothing, 5)
    (job,) = await retried(redis)
    assert cancelled.is_set()
    assert (job["error_class"], job["error_message"]) == ("JobTimeout", "cancelled after 0.1 s, its time limit")


async def test_a_job_that_ends_in_time_hears_nothing(redis: Redis) -> None:
    app = App()

    @app.job(timeout=timedelta(minutes=1))
    async def quick() -> None:
        await asyncio.sleep(0)

    async with rigged(redis, app) as rig:
        for _ in range(20):
            await rig.enqueue("quick")
        await wait_until(rig.processed, 5)
        await wait_until(rig.holds_nothing, 5)
    assert await retried(redis) == []


async def test_an_iterating_job_goes_on_at_the_item_where_its_time_was_over(redis: Redis) -> None:
    app = App()
    walked: list[int] = []

    @app.job(timeout=0.2)
    class Walk(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items(range(3), cursor)

        async def each_iteration(self, item: int) -> None:
            if item == 2 and walked.count(2) == 0:
                walked.append(item)
                await asyncio.sleep(60)
            walked.append(item)

    async with rigged(redis, app) as rig:
        await rig.enqueue("Walk")
        await wait_until(lambda: retried(redis), 5)
        (payload,) = cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))
        await redis.delete(KEYS.retry)
        await rig.life.fleet.enqueue("default", [payload])
        await wait_until(rig.processed, 5)
        await wait_until(lambda: walked.count(2) == 2, 5)
    assert walked == [0, 1, 2, 2]


async def test_a_plain_job_is_asked_to_leave_and_told_of_with_its_place(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    app, left = App(), threading.Event()

    @app.job(timeout=0.1)
    def stubborn() -> None:
        deadline = time.monotonic() + 20
        while not context().quiet and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        if context().overdue:
            left.set()

    with caplog.at_level(logging.ERROR, "jobworker.jobs"):
        async with rigged(redis, app) as rig:
            await rig.enqueue("stubborn")
            await wait_until(left.is_set, 10)
            await wait_until(rig.holds_nothing, 5)
            assert await rig.processed() == 1
    (record,) = [record for record in caplog.records if "over its time limit" in record.message]
    assert "test_time_limits.py" in vars(record)["at"]


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0)])
def test_a_limit_that_no_job_could_keep_is_refused(timeout: float | timedelta) -> None:
    with pytest.raises(ConfigurationError, match="a time above 0"):

        @App().job(timeout=timeout)
        async def never() -> None: ...
