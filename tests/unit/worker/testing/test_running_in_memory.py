"""Jobs in memory: how and when they run, and what becomes of those that raise."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobworker import IteratingJob, UnknownJob, context, list_items
from jobworker.jobs.definition import KILL
from jobworker.protocol.deaths import DeadJob
from jobworker.testing import FakeClock, Jobs, capture, inline
from tests.unit.worker.testing.shop import NOON, Shop

Both = Callable[..., Awaitable[Any]]


async def test_jobs_run_in_order_with_those_that_they_enqueue(shop: Shop, jobs: Jobs, both: Both) -> None:
    shop.chain.enqueue_sync(1)
    await shop.chain_async.enqueue(2)
    shop.mail.enqueue_sync(7)
    shop.walk.enqueue_sync(2)
    assert await both(jobs.run_all, jobs.run_all_sync) == 7
    assert shop.done == [
        ("chain", 1), ("chain", 2), ("mail", 7, "hi"), 0, 1, ("chain", 0), ("chain", 1), ("chain", 0),
    ]  # fmt: skip
    assert (jobs.waiting, len(jobs)) == ([], 7)


async def test_one_job_at_a_time(shop: Shop, jobs: Jobs, both: Both) -> None:
    shop.chain.enqueue_sync(1)
    shop.mail.enqueue_sync(7)
    assert (await both(jobs.run, jobs.run_sync, job=shop.mail)).name == "mail"
    assert (await both(jobs.run, jobs.run_sync)).args == [1]
    assert [job.args for job in jobs.waiting] == [[0]]
    with pytest.raises(AssertionError, match=r"no job mail waits; what does, now or later:\n  chain\(0\) on default"):
        await both(jobs.run, jobs.run_sync, job=shop.mail)


async def test_only_jobs_of_some_queues(shop: Shop, jobs: Jobs, both: Both) -> None:
    shop.chain.enqueue_sync(0)
    shop.mail.enqueue_sync(7)
    assert await both(jobs.run_all, jobs.run_all_sync, queues=["mails"]) == 1
    assert [job.name for job in jobs.waiting] == ["chain"]


async def test_job_gets_its_arguments_out_of_json_and_its_context(shop: Shop, jobs: Jobs, both: Both) -> None:
    months = ["2026-10"]
    jid = shop.report.enqueue_sync(months)
    months.append("2026-11")
    await both(jobs.run_all, jobs.run_all_sync)
    assert shop.done == [("report", ["2026-10"], jid, 1)]
    with pytest.raises(LookupError):
        context()


async def test_error_comes_out_and_the_jobs_own_rules_say_what_follows(shop: Shop, jobs: Jobs, both: Both) -> None:
    shop.failing = [ValueError("no server")]
    shop.mail.enqueue_sync(7)
    with pytest.raises(ValueError, match="no server") as raised:
        await both(jobs.run_all, jobs.run_all_sync)
    assert raised.value.__notes__ == [
        "raised by mail(7) on mails, attempt 1, run by jobworker.testing",
    ]
    (retry,) = jobs.retries
    assert (retry.attempt, retry.error, retry.at) == (2, "ValueError: no server", NOON + timedelta(seconds=15))
    assert await both(jobs.advance, jobs.advance_sync, seconds=14) == 0
    assert await both(jobs.advance, jobs.advance_sync, seconds=1) == 1
    assert (jobs.retries, jobs.dead) == ([], [])


async def test_recorded_errors_lead_to_the_dead_set_and_its_handlers(shop: Shop, both: Both) -> None:
    told: list[tuple[str, DeadJob]] = []

    @shop.app.on_death
    async def on_death(dead: DeadJob) -> None:
        told.append(("app", dead))

    def exhausted(dead: DeadJob) -> None:
        told.append(("job", dead))

    @shop.app.job(retry=2, retries_exhausted=exhausted)
    def breaks() -> None:
        shop.done.append(context().attempt)
        raise ValueError("again")

    with capture(shop.app, clock=FakeClock(NOON), raise_errors=False) as jobs:
        breaks.enqueue_sync()
        assert await both(jobs.run_all, jobs.run_all_sync) == 1
        assert await both(jobs.advance, jobs.advance_sync, hours=1) == 2
        assert (shop.done, jobs.retries, jobs.discarded) == ([1, 2, 3], [], [])
        assert [job.error for job in jobs.dead] == ["ValueError: again"]
    assert [who for who, _ in told] == ["job", "app"]
    assert (told[0][1].error_class, told[0][1].kept) == ("ValueError", True)


async def test_job_that_nobody_keeps_is_discarded(shop: Shop, both: Both) -> None:
    @shop.app.job(discard_on=KeyError)
    def discarded() -> None:
        raise KeyError

    @shop.app.job(retry_in=lambda *_: KILL)
    def killed() -> None:
        raise SystemExit(3)

    told: list[DeadJob] = []
    shop.app.on_death(told.append)
    with capture(shop.app, raise_errors=False) as jobs:
        discarded.enqueue_sync()
        killed.enqueue_sync()
        assert await both(jobs.run_all, jobs.run_all_sync) == 2
        assert [job.name for job in jobs.discarded] == ["discarded"]
        assert [job.name for job in jobs.dead] == ["killed"]
    assert [dead.kept for dead in told] == [False, True]


async def test_iterating_job_goes_on_at_the_item_that_raised(shop: Shop, jobs: Jobs, both: Both) -> None:
    shop.failing = [ValueError("at 2")]
    jid = shop.walk.enqueue_sync(4)
    with pytest.raises(ValueError, match="at 2"):
        await both(jobs.run_all, jobs.run_all_sync)
    assert shop.done == [0, 1]
    assert jobs._memory.places.of(jid).processed == 2
    await both(jobs.advance, jobs.advance_sync, minutes=1)
    assert shop.done == [0, 1, 2, 3]
    assert jobs._memory.places.of(jid).state.cursor is None


async def test_cancelled_iterating_job_walks_nothing(shop: Shop, jobs: Jobs, both: Both) -> None:
    jobs.cancel(shop.walk.enqueue_sync(4))
    assert await both(jobs.run_all, jobs.run_all_sync) == 1
    assert shop.done == []


async def test_unknown_job_is_an_error(shop: Shop, jobs: Jobs, both: Both) -> None:
    await shop.app.client.enqueue("RubyJob", [])
    with pytest.raises(UnknownJob, match="RubyJob"):
        await both(jobs.run_all, jobs.run_all_sync)


async def test_time_passes_by_the_clock_alone_and_jobs_run_at_their_time(shop: Shop, jobs: Jobs, both: Both) -> None:
    shop.tick.schedule_sync(timedelta(minutes=5))
    shop.mail.schedule_sync(timedelta(minutes=7), 1)
    jobs.assert_enqueued(shop.tick, delay=timedelta(minutes=5))
    assert await both(jobs.run_all, jobs.run_all_sync) == 0
    assert await both(jobs.advance, jobs.advance_sync, minutes=16) == 4
    assert [done[0] for done in shop.done] == ["tick", "mail", "tick", "tick"]
    assert [job.at for job in jobs.scheduled] == [NOON + timedelta(minutes=20)]
    assert jobs.clock.now == NOON + timedelta(minutes=16)
    jobs.clock.advance(minutes=4)
    assert len(shop.done) == 4
    assert await both(jobs.run_all, jobs.run_all_sync) == 1


def test_what_fell_due_meanwhile_runs_in_the_order_of_its_times(shop: Shop, jobs: Jobs) -> None:
    for minutes in (3, 1, 2):
        shop.mail.schedule_sync(timedelta(minutes=minutes), minutes)
    jobs.clock.advance(hours=1)
    assert jobs.run_all_sync() == 3
    assert [user for _, user, _ in shop.done] == [1, 2, 3]


async def test_times_between_two_microseconds_fall_due(shop: Shop, both: Both) -> None:
    with capture(shop.app) as jobs:
        for part in range(50):
            shop.mail.schedule_sync(part / 7_777_777 + 1, part)
        assert await both(jobs.advance, jobs.advance_sync, seconds=2) == 50


async def test_job_that_enqueues_itself_for_ever_fails_its_test(shop: Shop, jobs: Jobs) -> None:
    @shop.app.job
    def forever() -> None:
        forever.enqueue_sync()

    forever.enqueue_sync()
    with pytest.raises(AssertionError, match=r"10000 jobs have run, and forever\(\) on default would be next: does"):
        jobs.run_all_sync()


async def test_inline_runs_at_once_where_it_is_enqueued(shop: Shop) -> None:
    with inline(shop.app, clock=FakeClock(NOON)) as jobs:
        await shop.chain_async.enqueue(1)
        await shop.report.enqueue([])
        assert [done[:2] for done in shop.done] == [("chain", 1), ("chain", 0), ("report", [])]
        await shop.mail.enqueue_many([(1,), (2,)])
        await shop.walk.enqueue(1)
        assert shop.done[3:] == [("mail", 1, "hi"), ("mail", 2, "hi"), 0]
        await shop.mail.schedule(60, 3)
        assert len(shop.done) == 6
        assert await jobs.advance(minutes=1) == 1
        shop.failing = [ValueError("no server")]
        with pytest.raises(ValueError, match="no server"):
            await shop.mail.enqueue(4)
        assert len(jobs.retries) == 1
        # A plain call in the middle of async code runs async jobs too.
        shop.mail.enqueue_sync(5)
        assert shop.done[-1] == ("mail", 5, "hi")


def test_inline_in_plain_code(shop: Shop) -> None:
    with inline(shop.app):
        shop.chain.enqueue_sync(2)
        shop.mail.enqueue_many_sync([(1,), (2,)])
        shop.walk.enqueue_sync(2)
    assert shop.done == [("chain", 2), ("chain", 1), ("chain", 0), ("mail", 1, "hi"), ("mail", 2, "hi"), 0, 1]


def test_code_of_a_plain_test_stays_in_its_thread_and_on_one_loop(shop: Shop, jobs: Jobs) -> None:
    database = sqlite3.connect(":memory:")  # refuses other threads
    loops: set[asyncio.AbstractEventLoop] = set()

    @shop.app.job
    def reads() -> None:
        database.execute("SELECT 1")
        asyncio.run(asyncio.sleep(0))  # no loop runs here, as in a worker's thread

    @shop.app.job
    async def reads_async() -> None:
        database.execute("SELECT 1")
        loops.add(asyncio.get_running_loop())

    @shop.app.job
    class Reads(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> Any:
            assert threading.current_thread() is threading.main_thread()
            return list_items([1], cursor)

        def each_iteration(self, item: int) -> None:  # noqa: ARG002  # nothing to do with it
            database.execute("SELECT 1")

    for job in (reads_async, reads, Reads, reads_async):
        job.enqueue_sync()
    assert jobs.run_all_sync() == 4
    assert len(loops) == 1
    database.close()


def test_clock_never_goes_back_and_wants_a_zone() -> None:
    clock = FakeClock(NOON)
    clock.advance(days=1, hours=1)
    assert clock.now == NOON + timedelta(days=1, hours=1)
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(seconds=-1)
    with pytest.raises(ValueError, match="no time zone"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001  # that is what is refused
