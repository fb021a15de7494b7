"""Code around jobs: in Sidekiq's order, for every kind of job, and no job is lost by what it raises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, ConfigurationError, Context, IteratingJob, list_items
from jobworker.jobs.context import context
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


def application(trace: list[str]) -> App:
    """Three kinds of jobs that say what they do, and raise when their argument is 13."""
    app = App()

    @app.job
    async def asynchronous(number: int) -> None:
        trace.append(f"job {number}")
        if number == 13:
            raise ValueError("thirteen")

    @app.job
    def plain(number: int) -> None:
        trace.append(f"job {number}")
        if number == 13:
            raise ValueError("thirteen")

    @app.job(name="iterating")
    class Iterating(IteratingJob):
        def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
            return list_items([number], cursor)

        def each_iteration(self, item: int, number: int) -> None:
            trace.append(f"job {number}")
            if item == 13:
                raise ValueError("thirteen")

    return app


KINDS = pytest.mark.parametrize("kind", ["asynchronous", "plain", "iterating"])


async def retried(redis: Redis) -> list[dict[str, Any]]:
    return [orjson.loads(job) for job in cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))]


@KINDS
async def test_the_first_one_added_is_the_outermost_and_all_see_the_context(redis: Redis, kind: str) -> None:
    trace: list[str] = []
    app = application(trace)

    @app.middleware
    def outer(job: Context) -> Iterator[None]:
        trace.append(f"outer {job.job_class}")
        yield
        trace.append("outer done")

    @app.middleware
    async def inner(job: Context) -> AsyncIterator[None]:
        trace.append(f"inner {context().jid == job.jid}")
        yield
        trace.append("inner done")

    async with rigged(redis, app) as rig:
        await rig.enqueue(kind, 1)
        await wait_until(lambda: "outer done" in trace, 5)
        await wait_until(rig.holds_nothing, 5)
    assert trace == [f"outer {kind}", "inner True", "job 1", "inner done", "outer done"]


@KINDS
async def test_one_that_raises_before_the_job_fails_it_and_it_is_tried_again(redis: Redis, kind: str) -> None:
    trace: list[str] = []
    app = application(trace)

    @app.middleware
    def broken(_: Context) -> Iterator[None]:
        if trace != ["never"]:
            raise RuntimeError("no database")
        yield

    async with rigged(redis, app) as rig:
        await rig.enqueue(kind, 1)
        await wait_until(lambda: retried(redis), 5)
        await wait_until(rig.holds_nothing, 5)
    assert trace == []
    assert [job["error_message"] for job in await retried(redis)] == ["no database"]


@KINDS
async def test_one_that_does_not_yield_skips_the_job(redis: Redis, kind: str) -> None:
    trace: list[str] = []
    app = application(trace)

    @app.middleware
    def outside(_: Context) -> Iterator[None]:
        try:
            yield
        finally:
            trace.append("left")

    @app.middleware
    def skip(_: Context) -> Iterator[None]:
        if trace == ["never"]:
            yield

    async with rigged(redis, app) as rig:
        await rig.enqueue(kind, 1)
        await wait_until(rig.processed, 5)
    assert trace == ["left"]
    assert await retried(redis) == []


@KINDS
async def test_an_error_of_the_job_is_raised_at_the_yield_and_may_be_taken_or_changed(redis: Redis, kind: str) -> None:
    trace: list[str] = []
    app = application(trace)

    @app.middleware
    async def changes(_: Context) -> AsyncIterator[None]:
        try:
            yield
        except ValueError as error:
            raise LookupError(f"was {error}") from error

    @app.middleware
    def sees(_: Context) -> Iterator[None]:
        try:
            yield
        except ValueError:
            trace.append("seen")
            raise

    async with rigged(redis, app) as rig:
        await rig.enqueue(kind, 13)
        await wait_until(lambda: retried(redis), 5)
    (job,) = await retried(redis)
    assert (job["error_class"], job["error_message"]) == ("LookupError", "was thirteen")
    assert trace == ["job 13", "seen"]


@KINDS
async def test_one_that_takes_the_error_lets_the_job_be_done(redis: Redis, kind: str) -> None:
    trace: list[str] = []
    app = application(trace)

    @app.middleware
    def takes(_: Context) -> Iterator[None]:
        try:
            yield
        except ValueError:
            trace.append("taken")

    async with rigged(redis, app) as rig:
        await rig.enqueue(kind, 13)
        await wait_until(rig.processed, 5)
    assert trace == ["job 13", "taken"]
    assert await retried(redis) == []


async def test_one_that_yields_twice_is_told(redis: Redis) -> None:
    app = application([])

    @app.middleware
    def twice(_: Context) -> Iterator[None]:
        yield
        yield

    async with rigged(redis, app) as rig:
        await rig.enqueue("plain", 1)
        await wait_until(lambda: retried(redis), 5)
    (job,) = await retried(redis)
    assert "yielded twice" in job["error_message"]


def test_what_is_no_generator_function_is_refused() -> None:
    app = App()
    with pytest.raises(ConfigurationError, match="write a generator function"):
        app.middleware(lambda _: iter([None]))
