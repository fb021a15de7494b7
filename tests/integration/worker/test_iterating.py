"""Iterating jobs that raise, are cut, or were written in a hurry: no item is lost or walked twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, IteratingJob, list_items
from jobworker.cli.workers import described
from jobworker.client.control import carry_out_async
from jobworker.protocol.inspection import worker_reports
from jobworker.protocol.progress import job_progress
from jobworker.protocol.reading import activities
from jobworker.protocol.records import Side
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig, rigged
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
            return [(item, {item} if item else 0) for item in range(number)]

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


async def test_age_of_the_checkpoint_is_that_of_the_item_in_work_and_shown(redis: Redis, walk: type[Walk]) -> None:
    gate = threading.Event()
    walk.at = {7: gate}
    try:
        async with rigged(redis, application(walk)) as rig:
            await rig.enqueue("Walk", 20)
            await wait_until(lambda: len(walk.walked) >= 7, 5)
            assert await checkpoint_age(redis, rig) is None
            rig.state.hear("operator: Rollout")
            first = await wait_until(lambda: checkpoint_age(redis, rig), 5)
            assert first is not None
            second = await wait_until(lambda: older(redis, rig, first), 5)
            assert second is not None
            assert second > first
            report = described((await worker_reports(redis, KEYS))[0])
            assert report["checkpoint_age_seconds"] >= second
            rig.executor.cut()
    finally:
        gate.set()


async def checkpoint_age(redis: Redis, rig: Rig) -> float | None:
    return (await activities(redis, KEYS, [rig.life.worker]))[0].checkpoint_age_seconds


async def older(redis: Redis, rig: Rig, than: float) -> float | None:
    found = await checkpoint_age(redis, rig)
    return found if found is not None and found > than else None


@pytest.mark.parametrize("side", ["front", "back"])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_interrupted_job_goes_to_the_side_of_its_queue_that_it_wants(redis: Redis, kind: str, side: Side) -> None:
    app, gate, reached = App(), threading.Event(), threading.Event()

    class Polite(IteratingJob):
        returns_to = side

        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items(range(20), cursor)

        def each_iteration(self, item: int) -> Any:  # noqa: ARG002  # each gets one
            reached.set()
            assert gate.wait(20)

    class PoliteOnTheLoop(Polite):
        async def each_iteration(self, item: int) -> None:  # noqa: ARG002  # as above
            reached.set()
            await wait_until(gate.is_set, 20)

    app.job(name="Polite")(Polite if kind == "plain" else PoliteOnTheLoop)

    @app.job(name="Other")
    async def other() -> None: ...

    async with rigged(redis, app, concurrency=1) as rig:
        await rig.enqueue("Polite")
        await wait_until(reached.is_set, 10)
        await rig.enqueue("Other")
        rig.state.hear("operator: Rollout")
        gate.set()
        await wait_until(rig.holds_nothing, 30)
        classes = [orjson.loads(raw)["class"] for raw in await redis.lrange(KEYS.queue("default"), 0, -1)]
    assert classes[-1] == ("Polite" if side == "front" else "Other"), "the last of the list is taken next"
    assert sorted(classes) == ["Other", "Polite"]


async def test_thread_of_a_job_whose_time_is_over_walks_no_further(redis: Redis) -> None:
    app, gate, closed = App(), threading.Event(), threading.Event()
    walked: list[int] = []

    @app.job(name="Walk", timeout=0.2)
    class _Slow(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> Any:  # noqa: ARG002  # it never gets so far
            return self.items()

        def items(self) -> Iterator[tuple[int, int]]:
            try:
                for item in range(1_000):
                    yield item, item + 1
            finally:
                closed.set()

        def each_iteration(self, item: int) -> None:
            walked.append(item)
            assert gate.wait(20)

    async with rigged(redis, app) as rig:
        await rig.enqueue("Walk")

        async def failed() -> int:
            return await redis.zcard(KEYS.retry)

        await wait_until(failed, 10)
        gate.set()
        await wait_until(closed.is_set, 10)
    assert walked == [0], "its retry walks, and two of them would do items twice"


async def test_foreign_key_in_the_place_of_its_state_fails_the_job_and_not_the_worker(redis: Redis) -> None:
    """Waited out as an outage is, it would keep the job, its slot and a deploy for ever."""
    app = App()
    app.job(name="Walk")(type("Fresh", (Walk,), {}))
    Walk.at, Walk.walked = {}, []
    async with Rig.of(redis, app) as rig:
        jid = await rig.enqueue("Walk", 3)
        await redis.set(KEYS.iteration(jid), "somebody else's")
        rig.start()

        async def failed() -> list[bytes]:
            return cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))

        (told,) = await wait_until(failed, 10)
        assert "another application writes there: delete the key" in orjson.loads(told)["error_message"]
        await rig.enqueue("Walk", 3)
        await wait_until(lambda: Walk.walked == [0, 1, 2], 10)
