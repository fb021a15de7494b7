"""Jobs in memory: what was enqueued is seen, and may be asserted with failures that say what is there instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from unittest.mock import ANY

import pytest
import redis

from jobworker import App, ArgumentsNotJSON, IteratingJob
from jobworker.testing import Jobs, capture, inline
from tests.unit.worker.testing.shop import NOON, Shop


async def test_what_is_enqueued_is_seen_and_does_not_run(shop: Shop, jobs: Jobs) -> None:
    await shop.mail.enqueue(7)
    shop.report.enqueue_sync(["2026-10"])
    await shop.mail.enqueue_many([(1, "me"), (2, "you")])
    shop.walk.enqueue_sync(3)
    await shop.app.client.enqueue("RubyJob", [1], queue="ruby", retry=False, tags=["x"])
    assert [job.name for job in jobs] == ["mail", "report", "mail", "mail", "Walk", "RubyJob"]
    assert [job.args for job in jobs.of(shop.mail)] == [[7], [1, "me"], [2, "you"]]
    assert (len(jobs), len(jobs.waiting), len(jobs.of(shop.walk)), len(jobs.of("RubyJob"))) == (6, 6, 1, 1)
    ruby = jobs.of("RubyJob")[0]
    assert (ruby.queue, ruby.payload.retry, ruby.payload.extra["tags"]) == ("ruby", False, ["x"])
    assert shop.done == []
    jobs.clear()
    assert not jobs


def test_outside_of_the_block_the_application_has_its_redis_again(shop: Shop) -> None:
    with capture(shop.app) as jobs:
        with inline(shop.app) as inner:
            shop.chain.enqueue_sync(0)
            assert (len(inner), len(jobs)) == (1, 0)
        shop.chain.enqueue_sync(0)
        assert len(jobs) == 1
    with pytest.raises(redis.ConnectionError):
        shop.chain.enqueue_sync(0)
    assert len(jobs) == 1


def test_argument_that_could_not_travel_is_refused_as_in_production(shop: Shop, jobs: Jobs) -> None:
    with pytest.raises(ArgumentsNotJSON, match="report: argument months is a tuple"):
        shop.report.enqueue_sync(("2026-10",))  # type: ignore[arg-type]  # that is what is refused
    with pytest.raises(TypeError, match="mail"):
        shop.mail.enqueue_sync()  # type: ignore[call-arg]  # the same
    assert not jobs


def test_assertion_finds_by_arguments_queue_time_and_number(shop: Shop, jobs: Jobs) -> None:
    shop.mail.enqueue_sync(42)
    shop.mail.enqueue_sync(42, "hi")
    shop.mail.schedule_sync(timedelta(hours=1), 43)
    shop.mail.schedule_sync(NOON + timedelta(days=1), 44)
    jobs.assert_enqueued(shop.mail)
    assert len(jobs.assert_enqueued(shop.mail, 42, times=2)) == 2
    jobs.assert_enqueued(shop.mail, user=42, queue="mails")
    jobs.assert_enqueued("mail", 42, ANY)
    jobs.assert_enqueued(shop.mail, 43, delay=3600)
    jobs.assert_enqueued(shop.mail, 43, delay=timedelta(minutes=50), within=timedelta(minutes=15))
    jobs.assert_enqueued(shop.mail, 44, at=NOON + timedelta(days=1))
    jobs.assert_enqueued(shop.mail, 45, times=0)
    jobs.assert_not_enqueued(shop.report)
    jobs.assert_not_enqueued(shop.mail, 45)
    jobs.assert_not_enqueued(queue="reports")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        pytest.param(
            lambda jobs, shop: jobs.assert_enqueued(shop.mail, 7),
            "mail(7), to run at once, was not enqueued; what was:\n"
            "  mail(42) on mails\n"
            "  mail(43, 'you') on mails, due at 2026-11-21 13:00:00 UTC\n"
            "  report(['2026-10']) on reports",
            id="arguments, and the job's own ones first",
        ),
        pytest.param(
            lambda jobs, shop: jobs.assert_enqueued(shop.mail, 42, queue="default"),
            "mail(42) on default, to run at once, was not enqueued; what was:\n",
            id="queue",
        ),
        pytest.param(
            lambda jobs, shop: jobs.assert_enqueued(shop.mail, 43, subject="you"),
            "mail(43, subject='you'), to run at once, was not enqueued; what was:\n",
            id="scheduled is not at once",
        ),
        pytest.param(
            lambda jobs, shop: jobs.assert_enqueued(shop.mail, 43, "you", delay=60),
            "mail(43, 'you'), due at 2026-11-21 12:01:00 UTC, was not enqueued; what was:\n",
            id="delay",
        ),
        pytest.param(
            lambda jobs, shop: jobs.assert_enqueued(shop.mail, 42, delay=0),
            "mail(42), due at 2026-11-21 12:00:00 UTC, was not enqueued; what was:\n",
            id="at once is not scheduled",
        ),
        pytest.param(
            lambda jobs, shop: jobs.assert_enqueued(shop.report, times=2),
            "report, to run at once, was enqueued 1 times and not 2; what was:\n",
            id="number",
        ),
        pytest.param(
            lambda jobs, shop: jobs.assert_not_enqueued(shop.report),
            "no report should have been enqueued, but was:\n  report(['2026-10']) on reports",
            id="not one",
        ),
        pytest.param(
            lambda jobs, shop: jobs.assert_not_enqueued(shop.mail, 43, "you"),
            "no mail(43, 'you') should have been enqueued, but was:\n  mail(43, 'you') on mails, due at ",
            id="not even later",
        ),
        pytest.param(
            lambda jobs, _: jobs.assert_not_enqueued(queue="reports"),
            "nothing should have been enqueued on reports, but was:\n  report(['2026-10']) on reports",
            id="nothing",
        ),
    ],
)
def test_assertion_that_fails_shows_what_was_enqueued(
    shop: Shop, jobs: Jobs, ask: Callable[[Jobs, Shop], None], message: str
) -> None:
    shop.report.enqueue_sync(["2026-10"])
    shop.mail.enqueue_sync(42)
    shop.mail.schedule_sync(3600, 43, "you")
    with pytest.raises(AssertionError) as failure:
        ask(jobs, shop)
    assert str(failure.value).startswith(message)


def test_failing_assertion_on_nothing_and_on_what_is_no_job(shop: Shop, jobs: Jobs) -> None:
    with pytest.raises(AssertionError, match="mail, to run at once, was not enqueued; nothing was"):
        jobs.assert_enqueued(shop.mail)
    with pytest.raises(AssertionError, match="is no job of this application"):
        jobs.assert_enqueued(IteratingJob)
    for number in range(30):
        shop.chain.enqueue_sync(number)
    with pytest.raises(AssertionError, match="… and 10 more"):
        jobs.assert_not_enqueued()


def test_clients_of_its_own_can_be_given_the_test(shop: Shop, jobs: Jobs) -> None:
    with jobs.sync_client as client:
        client.enqueue_many("mail", [[1], [2]])
    assert len(jobs) == 2


def test_retries_and_dead_jobs_are_in_the_retry_queue() -> None:
    app = App("redis://127.0.0.1:1")

    @app.job(retry=1, retry_queue="slow")
    async def fail() -> None:
        raise ValueError("no")

    with capture(app, raise_errors=False) as jobs:
        fail.enqueue_sync()
        jobs.run_sync()
        assert [job.queue for job in jobs.retries] == ["slow"]
        jobs.advance_sync(hours=1)
        assert [job.queue for job in jobs.dead] == ["slow"]
