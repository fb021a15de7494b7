"""Jobs from somewhere else than Redis: acknowledged when they have ended, given back when they have not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, IteratingJob, UnitOfWork, list_items
from jobworker.protocol import payload as payloads
from jobworker.protocol.cancellation import end
from jobworker.runtime.units import Units
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig, rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class Shelf:
    """A source in this process. ``refusals``: so many calls of a unit raise before one succeeds."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Box] = asyncio.Queue()
        self.acknowledged: list[bytes] = []
        self.refusals = 0
        self.broken = 0

    async def retrieve(self, count: int) -> Sequence[UnitOfWork]:
        if self.broken:
            self.broken -= 1
            raise OSError("the shelf is away")
        units = [await self.waiting.get()]
        while len(units) < count and not self.waiting.empty():
            units.append(self.waiting.get_nowait())
        return units

    def put(self, name: str, *args: Any) -> None:
        job = payloads.new(name, args, queue="shelf", now=time.time())
        self.waiting.put_nowait(Box(self, job.to_json()))


class Box:
    """A unit of the shelf."""

    def __init__(self, shelf: Shelf, payload: bytes) -> None:
        self.payload = payload
        self.queue = "shelf"
        self._shelf = shelf

    async def acknowledge(self) -> None:
        if self._shelf.refusals:
            self._shelf.refusals -= 1
            raise OSError("not now")
        self._shelf.acknowledged.append(self.payload)

    async def give_back(self) -> None:
        self._shelf.waiting.put_nowait(self)


def application(ran: list[Any]) -> App:
    app = App()

    @app.job
    async def note(name: str) -> None:
        ran.append(name)

    @app.job
    def note_plain(name: str) -> None:
        ran.append(name)

    @app.job
    async def fail(name: str) -> None:
        raise ValueError(name)

    @app.job
    async def stay(name: str) -> None:
        ran.append(name)
        await asyncio.sleep(60)

    @app.job
    class Walk(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items(range(3), cursor)

        async def each_iteration(self, item: int) -> None:
            ran.append(item)

    return app


async def kept(redis: Redis) -> int:
    return int(await redis.zcard(KEYS.retry))


@asynccontextmanager
async def shelved(redis: Redis, app: App, shelf: Shelf, concurrency: int = 5) -> AsyncIterator[Rig]:
    async with rigged(redis, app, concurrency=concurrency) as rig:
        units = Units(shelf, rig.life, rig.state, rig.executor)
        rig.fetch.untold = lambda: units.untold
        task = asyncio.create_task(units.run())
        try:
            yield rig
        finally:
            await end([task])


async def test_jobs_of_both_sources_run_and_are_acknowledged_where_they_came_from(redis: Redis) -> None:
    ran: list[str] = []
    shelf = Shelf()
    for n in range(20):
        shelf.put("note" if n % 2 else "note_plain", f"shelf {n}")
    async with shelved(redis, application(ran), shelf, concurrency=2) as rig:
        for n in range(20):
            await rig.enqueue("note", f"redis {n}")
        await wait_until(lambda: len(ran) == 40 and len(shelf.acknowledged) == 20, 20)
        await wait_until(rig.holds_nothing, 10)
        assert await rig.processed() == 20
    assert len(set(ran)) == 40


async def test_a_failed_unit_is_in_the_retry_set_before_it_is_acknowledged(redis: Redis) -> None:
    shelf = Shelf()
    shelf.refusals = 1
    shelf.put("fail", "x")
    async with shelved(redis, application([]), shelf) as rig:
        await wait_until(lambda: kept(redis), 10)
        assert rig.fetch.load == 1, "not yet acknowledged"
        await wait_until(lambda: len(shelf.acknowledged) == 1, 10)
        await wait_until(rig.holds_nothing, 10)
    (job,) = cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))
    assert orjson.loads(job)["error_message"] == "x"


async def test_units_that_are_no_job_or_of_an_unknown_class_are_kept_with_the_reason(redis: Redis) -> None:
    shelf = Shelf()
    shelf.waiting.put_nowait(Box(shelf, b"nonsense"))
    shelf.put("nobody")
    async with shelved(redis, application([]), shelf):
        await wait_until(lambda: len(shelf.acknowledged) == 2, 10)
    assert await redis.zrange(KEYS.dead, 0, -1) == [b"nonsense"]
    assert await redis.zcard(KEYS.retry) == 1


async def test_an_iterating_job_goes_to_redis_where_its_place_can_be_kept(redis: Redis) -> None:
    shelf = Shelf()
    shelf.put("Walk")
    async with shelved(redis, application([]), shelf):
        await wait_until(lambda: len(shelf.acknowledged) == 1, 10)
    (job,) = cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))
    assert (orjson.loads(job)["class"], "retry_count" in orjson.loads(job)) == ("Walk", False)


async def test_a_fetcher_that_raises_is_asked_again(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    shelf = Shelf()
    shelf.broken = 1
    shelf.put("note", "x")
    async with shelved(redis, application(ran), shelf):
        await wait_until(lambda: ran == ["x"], 10)
    assert "the fetcher failed" in caplog.text


async def test_a_quiet_worker_asks_no_more_and_what_is_cut_goes_back(redis: Redis) -> None:
    ran: list[str] = []
    shelf = Shelf()
    shelf.put("stay", "x")
    async with shelved(redis, application(ran), shelf) as rig:
        await wait_until(lambda: ran == ["x"], 10)
        rig.state.stop()
        shelf.put("note", "late")
        rig.executor.cut()
        await wait_until(rig.holds_nothing, 10)
        await wait_until(rig.fetch.drained.is_set, 10)
        left = [shelf.waiting.get_nowait().payload for _ in range(shelf.waiting.qsize())]
    assert sorted(orjson.loads(payload)["args"][0] for payload in left) == ["late", "x"]
    assert shelf.acknowledged == []
    assert ran == ["x"]
