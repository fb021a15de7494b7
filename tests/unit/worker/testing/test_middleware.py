"""Middleware of both sides and time limits in the testing kit, as a client and a worker have them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from jobworker import NOT_PUSHED, App, Context, IteratingJob, JobTimeout, OutgoingJob, context, list_items
from jobworker.testing import capture, inline

TRACE: ContextVar[str] = ContextVar("trace", default="none")
KINDS = pytest.mark.parametrize("kind", ["asynchronous", "plain", "Walk", "WalkAsync"])


class Shop:
    """Four kinds of jobs, which say what they do in ``done`` and raise when their argument is 13."""

    def __init__(self) -> None:
        self.app = app = App("redis://127.0.0.1:1/0")
        self.done: list[Any] = []

        def work(number: int) -> None:
            self.done.append(("job", number, context().extra.get("trace"), TRACE.get()))
            if number == 13:
                raise ValueError("thirteen")

        @app.job(retry=0)
        async def asynchronous(number: int) -> None:
            work(number)

        @app.job(retry=0)
        def plain(number: int) -> None:
            work(number)

        @app.job(retry=0)
        class Walk(IteratingJob):
            def build_enumerator(walk, number: int, *, cursor: int | None) -> list_items[int]:  # noqa: N805  # the shop
                return list_items([number], cursor)

            def each_iteration(walk, item: int, number: int) -> None:  # noqa: ARG002, N805  # the same
                work(item)

        @app.job(retry=0)
        class WalkAsync(Walk):
            async def each_iteration(walk, item: int, number: int) -> None:  # type: ignore[override]  # noqa: ARG002, N805  # the same
                work(item)


@pytest.fixture
def shop() -> Shop:
    return Shop()


Runs = Callable[[Shop, str, int], Coroutine[Any, Any, None]]


@pytest.fixture(params=["async test", "plain test", "inline in an async test", "plain code called in an async test"])
def runs(request: pytest.FixtureRequest) -> Runs:
    """Enqueues a job by its name and runs it, in each way in which a test can."""

    async def run(shop: Shop, kind: str, number: int) -> None:
        match request.param:
            case "async test":
                with capture(shop.app) as jobs:
                    await shop.app.client.enqueue(kind, [number], retry=0)
                    await jobs.run_all()
            case "plain test":

                def test() -> None:
                    with capture(shop.app) as jobs:
                        shop.app.sync_client.enqueue(kind, [number], retry=0)
                        jobs.run_all_sync()

                await asyncio.to_thread(test)
            case "inline in an async test":
                with inline(shop.app):
                    await shop.app.client.enqueue(kind, [number], retry=0)
            case _:
                with inline(shop.app):
                    shop.app.sync_client.enqueue(kind, [number], retry=0)

    return run


@KINDS
async def test_both_sides_surround_the_job_in_their_order(shop: Shop, runs: Runs, kind: str) -> None:
    @shop.app.client_middleware
    def send(job: OutgoingJob) -> Iterator[None]:
        job.fields["trace"] = "abc"
        yield
        shop.done.append(("pushed", job.pushed))

    @shop.app.middleware
    def outer(job: Context) -> Iterator[None]:
        token = TRACE.set(job.extra["trace"])
        shop.done.append(("outer", job.job_class, context() is job))
        yield
        shop.done.append("outer done")
        TRACE.reset(token)

    @shop.app.middleware
    async def inner(job: Context) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        shop.done.append(("inner", job.jid == context().jid))
        yield
        await asyncio.sleep(0)
        shop.done.append("inner done")

    for _ in range(2):
        shop.done.clear()
        await runs(shop, kind, 7)
        assert shop.done == [
            ("pushed", True), ("outer", kind, True), ("inner", True), ("job", 7, "abc", "abc"), "inner done",
            "outer done",
        ]  # fmt: skip
    assert TRACE.get() == "none"


@KINDS
async def test_error_of_the_job_goes_through_the_middleware_and_out(shop: Shop, runs: Runs, kind: str) -> None:
    @shop.app.middleware
    async def outer(_: Context) -> AsyncIterator[None]:
        try:
            yield
        except LookupError as error:
            shop.done.append(repr(error))
            raise

    @shop.app.middleware
    def inner(_: Context) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise LookupError("changed") from error

    with pytest.raises(LookupError, match="changed"):
        await runs(shop, kind, 13)
    assert shop.done == [("job", 13, None, "none"), "LookupError('changed')"]


@KINDS
async def test_one_that_does_not_yield_skips_the_job(shop: Shop, runs: Runs, kind: str) -> None:
    @shop.app.middleware
    def skip(_: Context) -> Iterator[None]:
        if shop.done == ["never"]:
            yield

    await runs(shop, kind, 13)
    assert shop.done == []


def test_plain_test_has_one_thread_for_plain_middleware_too(shop: Shop) -> None:
    threads: set[int] = set()

    @shop.app.middleware
    def note(_: Context) -> Iterator[None]:
        threads.add(threading.get_ident())
        yield
        threads.add(threading.get_ident())

    with capture(shop.app) as jobs:
        for kind in ("asynchronous", "plain", "Walk", "WalkAsync"):
            shop.app.sync_client.enqueue(kind, [7])
        assert jobs.run_all_sync() == 4
    assert threads == {threading.get_ident()}


def test_each_async_job_of_a_plain_test_has_its_own_context(shop: Shop) -> None:
    seen: list[str] = []

    @shop.app.job
    async def look() -> None:
        seen.append(context().jid)

    with capture(shop.app) as jobs:
        jids = [look.enqueue_sync(), look.enqueue_sync()]
        jobs.run_all_sync()
    assert seen == jids


def test_push_that_a_middleware_stopped_is_not_seen(shop: Shop) -> None:
    @shop.app.client_middleware
    def stop(job: OutgoingJob) -> Iterator[None]:
        if job.args[0] != 13:
            yield

    with inline(shop.app):
        assert shop.app.sync_client.enqueue("plain", [13]) == NOT_PUSHED
        assert [bool(jid) for jid in shop.app.sync_client.enqueue_many("plain", [[12], [13], [14]])] == [
            True, False, True,
        ]  # fmt: skip
    assert [number for _, number, _, _ in shop.done] == [12, 14]


def test_error_of_an_inline_job_is_none_of_its_push(shop: Shop) -> None:
    @shop.app.client_middleware
    def watch(_: OutgoingJob) -> Iterator[None]:
        try:
            yield
        except ValueError:
            shop.done.append("seen")
            raise

    with inline(shop.app), pytest.raises(ValueError, match="thirteen"):
        shop.app.sync_client.enqueue("plain", [13], retry=0)
    assert "seen" not in shop.done


@pytest.mark.parametrize("kind", ["asynchronous", "walk", "plain walk"])
async def test_job_on_the_loop_is_cancelled_after_its_time_limit_and_tried_again(kind: str) -> None:
    app, ended = App(), []

    @app.middleware
    def note(_: Context) -> Iterator[None]:
        try:
            yield
        finally:
            ended.append("left")

    @app.job(name="asynchronous", timeout=0.05)
    async def asynchronous() -> None:
        await asyncio.sleep(60)

    @app.job(name="walk", timeout=0.05)
    class Walk(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items(range(10**9), cursor)

        async def each_iteration(self, item: int) -> None: ...

    @app.job(name="plain walk", timeout=0.05)
    class PlainWalk(Walk):
        def each_iteration(self, item: int) -> None: ...  # type: ignore[override]  # plain on purpose

    def test() -> None:
        with capture(app) as jobs:
            app.sync_client.enqueue(kind)
            with pytest.raises(JobTimeout, match=r"cancelled after 0\.05 s, its time limit"):
                jobs.run_all_sync()
            assert len(jobs.retries) == 1

    await asyncio.to_thread(test)
    with capture(app, raise_errors=False) as jobs:
        await app.client.enqueue(kind)
        await jobs.run_all()
        (retry,) = jobs.retries
        assert retry.error == "JobTimeout: cancelled after 0.05 s, its time limit"
    assert ended == ["left", "left"]


async def test_item_in_a_thread_has_ended_before_the_test_hears_of_the_time_limit() -> None:
    app, begun, ended = App(), [], []

    @app.job(timeout=0.05)
    class Slow(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items(range(10), cursor)

        def each_iteration(self, item: int) -> None:
            begun.append(item)
            threading.Event().wait(0.5)
            ended.append(item)

    with capture(app) as jobs:
        await Slow.enqueue()
        with pytest.raises(JobTimeout):
            await jobs.run_all()
        # On a busy machine the time may be over before the first one begins.
        assert ended == begun
        assert len(begun) < 10


async def test_plain_job_is_asked_to_leave_after_its_time_limit() -> None:
    app, left = App(), []

    @app.job(timeout=0.05)
    def patient() -> None:
        while not context().quiet:
            threading.Event().wait(0.01)
        left.append(context().overdue)

    def test() -> None:
        with capture(app) as jobs:
            patient.enqueue_sync()
            jobs.run_all_sync()

    await asyncio.to_thread(test)
    with capture(app) as jobs:
        await patient.enqueue()
        await jobs.run_all()
    assert left == [True, True]


def test_time_out_that_the_job_raises_itself_is_its_own() -> None:
    app = App()

    @app.job(timeout=60)
    async def raises() -> None:
        raise TimeoutError("of the mail server")

    with capture(app) as jobs:
        raises.enqueue_sync()
        with pytest.raises(TimeoutError, match="of the mail server") as raised:
            jobs.run_all_sync()
        assert not isinstance(raised.value, JobTimeout)
