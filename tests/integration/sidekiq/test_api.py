"""Sidekiq's Queue, RetrySet, ScheduledSet and DeadSet read what we write, and their actions work on it."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.sidekiq.conftest import StartWorker, Traces
from tests.integration.sidekiq.ruby_side import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

RETRY, DEAD = "Sidekiq::RetrySet.new", "Sidekiq::DeadSet.new"


def names(ruby: Console, of: str) -> list[Any]:
    return sorted(ruby(f"{of}.map {{ |job| job.args.last }}"))


async def test_queue_is_read_listed_and_cleared(ruby: Console, client: Client) -> None:
    first = await client.enqueue("Count", ["python", 1], queue="mails")
    jids = [first, *await client.enqueue_many("Count", [["python", number] for number in range(2, 121)], queue="mails")]
    mails = "Sidekiq::Queue.new('mails')"
    assert ruby("Sidekiq::Queue.all.map { |queue| [queue.name, queue.size] }") == [["mails", 120]]
    assert 0 <= ruby(f"{mails}.latency") < 60
    assert ruby(f"{mails}.map(&:jid)") == list(reversed(jids))
    assert ruby(f"{mails}.first.then {{ |job| [job.klass, job.args, job.queue, job.display_args] }}") == [
        "Count", ["python", 120], "mails", ["python", 120],
    ]  # fmt: skip
    assert ruby(f"{mails}.all? {{ |job| (Time.now - job.enqueued_at).between?(0, 60) }}")
    assert ruby(f"{mails}.all? {{ |job| (Time.now - job.created_at).between?(0, 60) }}")
    assert ruby(f"{mails}.find_job('{jids[7]}').delete") is True
    assert ruby(f"{mails}.map(&:jid)") == [jid for jid in reversed(jids) if jid != jids[7]]
    assert ruby("Sidekiq::Stats.new.then { |stats| [stats.enqueued, stats.queues] }") == [119, {"mails": 119}]
    ruby(f"{mails}.clear")
    assert ruby("[Sidekiq::Queue.all.size, Sidekiq::Stats.new.enqueued]") == [0, 0]


async def test_scheduled_jobs_are_read_moved_and_deleted(
    ruby: Console, client: Client, start_worker: StartWorker, traces: Traces
) -> None:
    for number in (1, 2, 3, 4):
        await client.schedule(3600 * number, "Count", ["ä", number])
    scheduled = "Sidekiq::ScheduledSet.new"
    assert names(ruby, scheduled) == [1, 2, 3, 4]
    assert ruby("Sidekiq::Stats.new.scheduled_size") == 4
    assert 3500 < ruby(f"{scheduled}.min_by(&:score).then {{ |job| job.at - Time.now }}") <= 3600

    def one(number: int) -> str:
        return f"{scheduled}.find {{ |job| job.args.last == {number} }}"

    ruby(f"{one(1)}.add_to_queue")
    ruby(f"{one(2)}.reschedule(Time.now - 1)")
    ruby(f"{one(3)}.delete")
    assert names(ruby, scheduled) == [2, 4]
    ruby(f"{one(4)}.kill")
    assert names(ruby, DEAD) == [4]
    start_worker("a")
    await traces.until("counted:python", "ä:1", "ä:2")
    assert ruby(f"[{scheduled}.size, Sidekiq::Queue.new.size]") == [0, 0]


async def test_retries_are_read_retried_killed_and_deleted(
    ruby: Console, client: Client, start_worker: StartWorker, traces: Traces
) -> None:
    for name in ("again", "to the queue", "to the dead", "away", "stays"):
        await client.enqueue("FailsOn", ["python", name])
    worker = start_worker("a")
    await wait_until(lambda: ruby(f"{RETRY}.size") == 5, 40)
    worker.process.terminate()
    assert await worker.exit_code(40) == 0
    assert names(ruby, RETRY) == ["again", "away", "stays", "to the dead", "to the queue"]
    assert ruby(f"{RETRY}.all?(&:error?)")
    assert ruby("Sidekiq::Stats.new.then { |s| [s.retry_size, s.processed, s.failed] }") == [5, 5, 5]

    def one(name: str) -> str:
        return f"{RETRY}.find {{ |job| job.args.last == '{name}' }}"

    jid = ruby(f"{one('again')}.jid")
    assert ruby(f"{RETRY}.find_job('{jid}').args") == ["python", "again"]
    assert ruby(f"{RETRY}.scan('to the').map {{ |job| job.args.last }}.sort") == ["to the dead", "to the queue"]
    ruby(f"{one('again')}.retry")
    ruby(f"{one('to the queue')}.add_to_queue")
    ruby(f"{one('to the dead')}.kill")
    assert ruby(f"{one('away')}.delete")
    assert names(ruby, RETRY) == ["stays"]
    assert names(ruby, DEAD) == ["to the dead"]
    start_worker("b")
    await wait_until(lambda: names(ruby, RETRY) == ["again", "stays", "to the queue"], 40)
    counts = ruby(f"{RETRY}.to_h {{ |job| [job.args.last, job['retry_count']] }}")
    assert counts == {"stays": 0, "again": 0, "to the queue": 1}, "retry does not use up a try, add_to_queue does"
    assert (await traces("tried:python"))["again"] == 2


async def test_dead_jobs_are_read_retried_and_deleted(
    ruby: Console, client: Client, start_worker: StartWorker, redis: Redis
) -> None:
    for name in ("again", "away", "stays"):
        await client.enqueue("DiesAtOnce", [name], retry=0)
    await redis.lpush("queue:default", "not JSON")
    start_worker("a")
    await wait_until(lambda: ruby(f"{DEAD}.size") == 4, 40)
    named = f"{DEAD}.select {{ |job| job.item.any? }}"
    assert names(ruby, named) == ["again", "away", "stays"]
    assert ruby(f"{DEAD}.reject {{ |job| job.item.any? }}.map {{ |job| [job.args, job.value] }}") == [
        [["not JSON"], "not JSON"]
    ]
    assert ruby(f"{named}.all? {{ |job| (Time.now - job.at).between?(0, 60) && job['error_class'] == 'ValueError' }}")
    before = ruby(f"{named}.find {{ |job| job.args == ['again'] }}.score")
    ruby(f"{named}.find {{ |job| job.args == ['again'] }}.retry")
    assert ruby(f"{named}.find {{ |job| job.args == ['away'] }}.delete")

    def died_again() -> bool:
        score = ruby(f"{named}.find {{ |job| job.args == ['again'] }}&.score")
        return score is not None and score > before

    await wait_until(died_again, 40)
    assert names(ruby, named) == ["again", "stays"]
    ruby(f"{DEAD}.clear")
    assert ruby("Sidekiq::Stats.new.dead_size") == 0


async def test_whole_sets_are_killed_and_retried(
    ruby: Console, client: Client, start_worker: StartWorker, traces: Traces
) -> None:
    names_of_all = [f"number {number}" for number in range(60)]  # more than a page of Sidekiq's API
    await client.enqueue_many("FailsOn", [["python", name] for name in names_of_all], retry=1)
    worker = start_worker("a")
    await wait_until(lambda: ruby(f"{RETRY}.size") == 60, 40)
    worker.process.terminate()
    assert await worker.exit_code(40) == 0
    ruby(f"{RETRY}.kill_all")
    assert ruby(f"[{RETRY}.size, {DEAD}.size]") == [0, 60]
    ruby(f"{DEAD}.retry_all")
    assert ruby(f"[{DEAD}.size, Sidekiq::Queue.new.size]") == [0, 60]
    start_worker("b")
    await wait_until(lambda: ruby(f"{RETRY}.size + {DEAD}.size") == 60, 40)
    assert await traces("tried:python") == dict.fromkeys(names_of_all, 2)
