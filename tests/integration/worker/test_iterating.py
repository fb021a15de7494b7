"""Iterating jobs that raise, are cut, or were written in a hurry: no item is lost or walked twice."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, IteratingJob, list_items
from jobworker.client.control import carry_out_async
from jobworker.protocol.progress import job_progress
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class Broken(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Walk(IteratingJob):
    """Plain; the test says what happens at an item."""

    checkpoint_seconds = 3600.0
    at: dict[int, BaseException | threading.Event] = {}  # noqa: RUF012  # set anew by each test
    walked: list[int] = []  # noqa: RUF012  # the same

    def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
        return list_items(range(number), cursor)

    def each_iteration(self, item: int, number: int) -> Any:  # noqa: ARG002  # each item gets the job's arguments
        happening = self.at.get(item)
        if isinstance(happening, BaseException):
            del self.at[item]
            raise happening
        self.walked.append(item)
        if isinstance(happening, threading.Event):
            happening.wait(20)


class AsyncWalk(Walk):
    """The same on the event loop."""

    async def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # as above
        happening = self.at.get(item)
        if isinstance(happening, BaseException):
            del self.at[item]
            raise happening
        if isinstance(happening, threading.Event):
            await asyncio.sleep(20)
        self.walked.append(item)


@pytest.fixture(params=[Walk, AsyncWalk], ids=["plain", "async"])
def walk(request: pytest.FixtureRequest) -> type[Walk]:
    chosen = cast("type[Walk]", request.param)
    chosen.at, chosen.walked = {}, []
    return chosen


def application(walk: type[Walk]) -> App:
    app = App()
    app.job(name="Walk")(type("Fresh", (walk,), {}))
    return app


async def retried(redis: Redis) -> dict[str, Any]:
    async def there() -> list[bytes]:
        return cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))

    (raw,) = await wait_until(there, 5)
    await redis.zrem(KEYS.retry, raw)
    await redis.lpush(KEYS.queue("default"), raw)
    return cast("dict[str, Any]", orjson.loads(raw))


@pytest.mark.parametrize(
    "error",
    [ValueError("at 7"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration("odd")],
    ids=lambda error: type(error).__name__,
)
async def test_retry_goes_on_at_the_item_that_raised(redis: Redis, walk: type[Walk], error: BaseException) -> None:
    walk.at = {7: error}
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk", 20)
        await retried(redis)

        async def done() -> bool:
            return await rig.processed() == 2

        await wait_until(done, 5)
    assert walk.walked == list(range(20))
    progress = await carry_out_async(redis, job_progress(KEYS, jid, errors=None))
    assert progress is not None
    assert (progress.processed, progress.total) == (20, 20)


async def test_error_that_cannot_be_told_is_recorded_all_the_same(redis: Redis, walk: type[Walk]) -> None:
    walk.at = {7: Broken(), 8: ValueError("half \ud800 a pair")}
    app = App()
    app.job(name="Walk")(type("Recording", (walk,), {"on_error": "record"}))
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Walk", 20)

        async def done() -> bool:
            return await rig.processed() == 1

        await wait_until(done, 5)
    progress = await carry_out_async(redis, job_progress(KEYS, jid, errors=None))
    assert progress is not None
    assert progress.errors == {
        8: ("Broken: Broken whose own text raised RuntimeError",),
        9: ("ValueError: half ? a pair",),
    }


async def test_job_that_is_cut_in_a_long_item_goes_on_with_that_item(redis: Redis, walk: type[Walk]) -> None:
    gate = threading.Event()
    walk.at = {7: gate}
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk", 20)
        await wait_until(lambda: len(walk.walked) >= 7, 5)
        rig.state.stop()
        rig.executor.cut()
        await wait_until(rig.holds_nothing, 5)
        gate.set()
        state = await rig.life.fleet.iteration_state(jid)
        assert state.cursor == b"7"
        assert await redis.llen(KEYS.queue("default")) == 1


async def test_cursor_that_json_cannot_carry_is_told(redis: Redis) -> None:
    app = App()

    @app.job(name="Walk")
    class _Sets(Walk):
        def build_enumerator(self, number: int, *, cursor: int | None) -> Any:  # noqa: ARG002  # as above
            return [(item, {item}) for item in range(number)]

    async with rigged(redis, app) as rig:
        await rig.enqueue("Walk", 3)
        body = await retried(redis)
    assert body["error_class"] == "ConfigurationError"
    assert "cursor {2} cannot be written as JSON" in body["error_message"]


async def test_job_cancelled_before_its_first_run_walks_nothing_and_ends(redis: Redis, walk: type[Walk]) -> None:
    walk.at, walk.walked = {}, []
    async with rigged(redis, application(walk)) as rig:
        rig.state.be_quiet_here()
        jid = await rig.enqueue("Walk", 20)
        await redis.hset(KEYS.iteration(jid), "cancelled", str(time.time()))
        rig.state.quiet_here = False
        rig.state.hear("x")
        rig.state.hear(None)

        async def done() -> bool:
            return await rig.processed() == 1

        await wait_until(done, 5)
    assert walk.walked == []
    assert await redis.exists(KEYS.iteration(jid)) == 0


async def test_completion_that_raises_is_tried_again_without_walking_again(redis: Redis) -> None:
    app = App()
    completions: list[int] = []
    items: list[int] = []

    @app.job(name="Walk")
    class _Completes(Walk):
        def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # as above
            items.append(item)

        def on_complete(self) -> None:
            completions.append(1)
            if len(completions) == 1:
                raise ValueError("not yet")

    async with rigged(redis, app) as rig:
        await rig.enqueue("Walk", 5)
        assert (await retried(redis))["error_message"] == "not yet"

        async def done() -> bool:
            return await rig.processed() == 2

        await wait_until(done, 5)
    assert items == [0, 1, 2, 3, 4]
