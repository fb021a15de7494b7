"""Cancel, pause and resume in memory: a test sees what its job does when somebody asks it to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from jobworker import App, ControlAnswer, IteratingJob, Standing, context, list_items
from jobworker.testing import Jobs, capture, inline


class Shop:
    """An application whose imports may be stopped by their own code at an item, as somebody outside would."""

    def __init__(self, kind: str) -> None:
        self.app = app = App("redis://127.0.0.1:1/0")
        self.done: list[Any] = []
        self.at: dict[int, Callable[[str], Any]] = {}
        self.answers: list[ControlAnswer] = []

        class Walk(IteratingJob):
            def build_enumerator(walk, number: int, *, cursor: int | None) -> Any:  # noqa: N805  # self is the shop
                return list_items(range(number), cursor)

            def on_start(walk) -> None:  # noqa: N805
                self.done.append("start")

            def on_resume(walk) -> None:  # noqa: N805
                self.done.append("resume")

            async def on_cancel(walk) -> None:  # noqa: N805
                self.done.append("cancel")

            def on_complete(walk) -> None:  # noqa: N805
                self.done.append("complete")

        class PlainWalk(Walk):
            def each_iteration(walk, item: int, number: int) -> None:  # noqa: ARG002, N805
                self.done.append(item)
                if item in self.at:
                    self.answers.append(self.at.pop(item)(context().jid))

        class AsyncWalk(Walk):
            async def each_iteration(walk, item: int, number: int) -> None:  # noqa: ARG002, N805
                self.done.append(item)
                if item in self.at:
                    answer = self.at.pop(item)(context().jid)
                    self.answers.append(await answer if asyncio.iscoroutine(answer) else answer)

        self.walk: type[IteratingJob] = app.job(name="Walk")(PlainWalk if kind == "plain" else AsyncWalk)

        @app.job
        def plain() -> None:
            self.answers.append(app.sync_client.pause(context().jid))

        self.plain = plain

    @property
    def items(self) -> list[int]:
        return [done for done in self.done if isinstance(done, int)]


@pytest.fixture(params=["plain", "async"])
def shop(request: pytest.FixtureRequest) -> Shop:
    return Shop(request.param)


@pytest.fixture
def jobs(shop: Shop) -> Iterator[Jobs]:
    with capture(shop.app) as jobs:
        yield jobs


@pytest.fixture(params=["in async code", "in plain code"])
def both(request: pytest.FixtureRequest) -> Callable[[Any, Any], Any]:
    async def called(method: Callable[..., Coroutine[Any, Any, Any]], twin: Callable[..., Any]) -> Any:
        return await method() if request.param == "in async code" else await asyncio.to_thread(twin)

    return called


Both = Callable[..., Awaitable[Any]]


async def test_job_that_is_cancelled_while_it_runs_ends_after_its_item(shop: Shop, jobs: Jobs, both: Both) -> None:
    jid = shop.walk.enqueue_sync(5)
    shop.at = {2: shop.app.sync_client.cancel}
    assert await both(jobs.run_all, jobs.run_all_sync) == 1
    assert shop.answers == [ControlAnswer(jid, Standing.RUNNING)]
    assert shop.items == [0, 1, 2]
    assert {"cancel", "complete"} <= set(shop.done)
    assert (jobs.waiting, jobs.paused) == ([], [])
    assert jobs.cancel(jid) == ControlAnswer(jid, Standing.OVER, accepted=False, changed=False)


async def test_job_that_is_paused_while_it_runs_rests_and_goes_on(shop: Shop, jobs: Jobs, both: Both) -> None:
    jid = shop.walk.enqueue_sync(5)
    shop.at = {2: shop.app.sync_client.pause}
    assert await both(jobs.run_all, jobs.run_all_sync) == 1
    assert (shop.items, [job.jid for job in jobs.paused], jobs.waiting) == ([0, 1, 2], [jid], [])
    assert await both(jobs.run_all, jobs.run_all_sync) == 0
    other = shop.walk.enqueue_sync(0)
    assert jobs.resume(jid) == ControlAnswer(jid, Standing.PAUSED)
    assert [job.jid for job in jobs.waiting] == [jid, other]
    assert await both(jobs.run_all, jobs.run_all_sync) == 2
    assert shop.items == [0, 1, 2, 3, 4]
    assert shop.done[:5] == ["start", 0, 1, 2, "resume"]
    assert jobs.paused == []


async def test_job_that_is_paused_before_it_runs_rests_without_an_item(shop: Shop, jobs: Jobs, both: Both) -> None:
    jid = shop.walk.enqueue_sync(5)
    assert jobs.pause(jid) == ControlAnswer(jid, Standing.WAITING)
    assert await both(jobs.run_all, jobs.run_all_sync) == 1
    assert (shop.done, [job.jid for job in jobs.paused]) == ([], [jid])
    assert jobs.cancel(jid) == ControlAnswer(jid, Standing.PAUSED)
    assert await both(jobs.run_all, jobs.run_all_sync) == 1
    assert (shop.items, "cancel" in shop.done) == ([], True)


async def test_job_that_is_resumed_before_it_left_goes_on(shop: Shop, jobs: Jobs, both: Both) -> None:
    shop.walk.enqueue_sync(5)

    def pause_and_resume(jid: str) -> ControlAnswer:
        jobs.pause(jid)  # type: ignore[arg-type]  # the context's jid is a plain text
        return jobs.resume(jid)  # type: ignore[arg-type]  # the same

    shop.at = {2: pause_and_resume}
    assert await both(jobs.run_all, jobs.run_all_sync) == 1
    assert (shop.items, jobs.paused) == ([0, 1, 2, 3, 4], [])


async def test_job_that_does_not_iterate_cannot_be_paused(shop: Shop, jobs: Jobs, both: Both) -> None:
    jid = shop.plain.enqueue_sync()
    await both(jobs.run_all, jobs.run_all_sync)
    assert shop.answers == [ControlAnswer(jid, Standing.NOT_ITERATING, accepted=False, changed=False)]


def test_resumed_job_runs_at_once_where_jobs_do(shop: Shop) -> None:
    with inline(shop.app) as jobs:
        shop.at = {2: shop.app.sync_client.pause}
        jid = shop.walk.enqueue_sync(5)
        assert (shop.items, len(jobs.paused)) == ([0, 1, 2], 1)
        shop.app.sync_client.resume(jid)
        assert (shop.items, jobs.paused) == ([0, 1, 2, 3, 4], [])


async def test_async_code_asks_by_the_async_client(shop: Shop) -> None:
    with inline(shop.app) as jobs:
        shop.at = {1: shop.app.sync_client.pause}
        jid = await shop.walk.enqueue(3)
        assert (await shop.app.client.pause(jid)).standing is Standing.PAUSED
        assert (await shop.app.client.cancel(jid)).standing is Standing.PAUSED
        assert (shop.items, "cancel" in shop.done, jobs.paused) == ([0, 1], True, [])
