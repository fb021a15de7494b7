"""What one side enqueues, schedules or fails, the other runs, promotes and retries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.sidekiq.conftest import StartSidekiq, StartWorker, Traces
from tests.integration.sidekiq.ruby_side import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

RETRY = "Sidekiq::RetrySet.new.map { |job| job.item.merge('at' => job.score, 'lines' => job.error_backtrace) }"


async def test_ruby_enqueues_and_python_runs(
    ruby: Console, start_worker: StartWorker, traces: Traces, redis: Redis
) -> None:
    jid = ruby("Count.perform_async('ruby', 1)")
    assert len(jid) == 24
    assert len(ruby("Sidekiq::Client.push_bulk('class' => Count, 'args' => (2..1500).map { |n| ['ruby', n] })")) == 1499
    ruby("Count.perform_in(1, 'ruby', 'in a second')")
    ruby("Count.perform_at(Time.now + 1.5, 'ruby', 'at a time')")
    ruby("Count.set(queue: 'other').perform_async('ruby', 'of another queue')")
    assert ruby("[Sidekiq::Queue.new.size, Sidekiq::ScheduledSet.new.size]") == [1500, 2]
    start_worker("a", "-q", "default other")
    await traces.until("counted:python", "ruby:in a second", "ruby:at a time", "ruby:of another queue")
    counted = await traces("counted:python")
    await wait_until(lambda: ruby("Sidekiq::Stats.new.processed") == 1503, 40)
    counted = await traces("counted:python")
    assert {f"ruby:{number}": 1 for number in range(1, 1501)}.items() <= counted.items()
    assert len(counted) == 1503
    assert set(counted.values()) == {1}


async def test_python_enqueues_and_ruby_runs(client: Client, start_sidekiq: StartSidekiq, traces: Traces) -> None:
    await client.enqueue("Count", ["python", 1])
    await client.enqueue_many("Count", [["python", number] for number in range(2, 1501)])
    await client.schedule(1, "Count", ["python", "in a second"])
    await client.schedule(datetime.now(UTC) + timedelta(seconds=1), "Count", ["python", "at a time"])
    await client.enqueue("Count", ["python", "ä 😀 \u2028"], queue="other")
    sidekiq = start_sidekiq("default", "other")
    await traces.until("counted:ruby", "python:in a second", "python:at a time", "python:ä 😀 \u2028")

    async def all_counted() -> bool:
        assert sidekiq.process.poll() is None, sidekiq.log
        return len(await traces("counted:ruby")) == 1503

    await wait_until(all_counted, 40)
    counted = await traces("counted:ruby")
    assert {f"python:{number}": 1 for number in range(1, 1501)}.items() <= counted.items()
    assert set(counted.values()) == {1}


async def test_what_fails_in_python_is_retried_by_ruby(
    ruby: Console, start_worker: StartWorker, start_sidekiq: StartSidekiq, traces: Traces, client: Client
) -> None:
    ruby("FailsOn.set(backtrace: 3).perform_async('python', 'ä/\"1\"')")
    worker = start_worker("a")
    failed = (await wait_until(lambda: ruby(RETRY), 40))[0]
    assert (failed["error_class"], failed["error_message"]) == ("ValueError", "Python fails")
    assert (failed["retry_count"], failed["retry"], failed["tags"]) == (0, 5, ["two", "sides"])
    assert 14 < failed["at"] - failed["failed_at"] < 30
    assert 1 <= len(failed["lines"]) <= 3
    assert "jobs_of_both_sides.py" in failed["lines"][0]
    worker.process.terminate()
    assert await worker.exit_code(40) == 0
    # Ruby finds the member by the JSON that it would write itself: ours is the same to the byte.
    ruby("Sidekiq::RetrySet.new.each { |job| job.reschedule(Time.now - 1) }")
    assert ruby("Sidekiq::RetrySet.new.size") == 1
    start_sidekiq()
    await traces.until("done:ruby", 'ä/"1"')
    assert await traces("tried:python") == {'ä/"1"': 1}
    await wait_until(lambda: ruby("[Sidekiq::RetrySet.new.size, Sidekiq::Queue.new.size]") == [0, 0], 40)


async def test_what_fails_in_ruby_is_retried_by_python(
    ruby: Console, start_worker: StartWorker, start_sidekiq: StartSidekiq, traces: Traces
) -> None:
    ruby("FailsOn.perform_async('ruby', 'one')")
    sidekiq = start_sidekiq()
    failed = (await wait_until(lambda: ruby(RETRY), 40))[0]
    assert (failed["error_class"], failed["retry_count"]) == ("ArgumentError", 0)
    with sidekiq:
        pass
    ruby("Sidekiq::RetrySet.new.each { |job| job.reschedule(Time.now - 1) }")
    start_worker("a")
    await traces.until("done:python", "one")
    assert len(await traces("tried:python")) == 1
    assert ruby("[Sidekiq::RetrySet.new.size, Sidekiq::Queue.new.size, Sidekiq::DeadSet.new.size]") == [0, 0, 0]


async def test_tries_of_both_sides_are_counted_together(
    ruby: Console, start_worker: StartWorker, start_sidekiq: StartSidekiq, redis: Redis
) -> None:
    """Two tries allowed: one is Ruby's, the second and last Python's."""
    ruby("FailsOn.set(retry: 1).perform_async('ruby', 'one')")
    sidekiq = start_sidekiq()
    first: dict[str, Any] = (await wait_until(lambda: ruby(RETRY), 40))[0]
    with sidekiq:
        pass
    # The argument says who fails: from here on it is Python.
    ruby("""Sidekiq::RetrySet.new.each { |job| job.delete
      Sidekiq::Client.push(job.item.merge("args" => ["python", "one"])) }""")
    start_worker("a")
    dead = "Sidekiq::DeadSet.new.map(&:item)"
    (buried,) = await wait_until(lambda: ruby(dead), 40)
    assert (buried["jid"], buried["retry_count"]) == (first["jid"], 1)
    assert buried["failed_at"] == first["failed_at"]
    assert buried["retried_at"] > buried["failed_at"]
    assert buried["error_message"] == "Python fails"
