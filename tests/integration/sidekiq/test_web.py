"""Sidekiq's web page shows our workers and jobs, and its buttons work."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.sidekiq.conftest import StartWorker, Traces, until_shown
from tests.integration.sidekiq.ruby_side import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_busy_page_shows_the_worker_with_its_job_and_its_buttons_stop_it(
    ruby: Console, client: Client, start_worker: StartWorker, traces: Traces
) -> None:
    worker = start_worker("a", "-c", "7", "-q", "mails", "--fleet", "shop/mailers")
    jid = await client.enqueue("Gated", ["<held>"], queue="mails")
    await traces.until("started:python", "<held>")
    identity = (await until_shown(ruby, worker))["identity"]
    await wait_until(lambda: jid in ruby("page('/busy')"), 40)
    page = ruby("page('/busy')")
    for text in (identity, "shop/mailers", "mails", "&lt;held&gt;", "Gated"):
        assert text in page, text
    assert "<held>" not in page
    ruby(f"submit('/busy', '/busy', identity: '{identity}', quiet: 1)")
    await wait_until(lambda: '<span class="label label-danger">quiet</span>' in ruby("page('/busy')"), 40)
    ruby(f"submit('/busy', '/busy', identity: '{identity}', stop: 1)")
    await traces.open_gate("<held>")
    assert await worker.exit_code(40) == 0
    assert identity not in ruby("page('/busy')")


async def test_dashboard_and_queue_pages_show_our_jobs(
    ruby: Console, client: Client, start_worker: StartWorker, traces: Traces
) -> None:
    start_worker("a")
    await client.enqueue("Count", ["python", 1])
    await traces.until("counted:python", "python:1")
    jobs = [await client.enqueue("Count", ["ä", number], queue="mails") for number in range(30)]
    stats = "JSON.parse(page('/stats'))['sidekiq']"
    expected = {
        "processed": 1, "failed": 0, "busy": 0, "processes": 1, "enqueued": 30, "scheduled": 0,
        "retries": 0, "dead": 0, "default_latency": 0,
    }  # fmt: skip
    await wait_until(lambda: ruby(stats) == expected, 40, f"{stats} of one idle worker")
    assert ruby("JSON.parse(page('/stats/queues'))") == {"mails": 30, "default": 0}
    assert "Dashboard" in ruby("page('/')")
    assert "mails" in ruby("page('/queues')")
    newest = ruby("page('/queues/mails')")
    assert newest.count("Count") >= 25
    assert "&quot;ä&quot;, 29" in newest
    assert "&quot;ä&quot;, 0" in ruby("page('/queues/mails?page=2')")
    first = f"Sidekiq::Queue.new('mails').find_job('{jobs[0]}')"
    ruby(f"submit('/queues/mails/delete', '/queues/mails', key_val: {first}.value)")
    assert ruby("Sidekiq::Queue.new('mails').size") == 29
    ruby("submit('/queues/mails', '/queues', delete: 1)")
    assert ruby("Sidekiq::Queue.all.map(&:name)") == ["default"]


async def test_pages_of_retries_schedule_and_dead_show_our_jobs_and_act_on_them(
    ruby: Console, client: Client, start_worker: StartWorker, redis: Redis
) -> None:
    ruby("FailsOn.set(backtrace: true).perform_async('python', 'failed')")
    await client.enqueue("DiesAtOnce", ["buried"], retry=0)
    await client.schedule(3600, "Count", ["python", "later"])
    worker = start_worker("a")
    await wait_until(lambda: ruby("[Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size]") == [1, 1], 40)
    worker.process.terminate()
    assert await worker.exit_code(40) == 0

    retries = ruby("page('/retries')")
    assert "failed" in retries
    assert "ValueError: Python fails" in retries
    assert "two" in retries, "the tags"
    keyed = '{ |set| set.first.then { |job| "#{job.score}-#{job.jid}" } }'
    retry, dead, later = (ruby(f"Sidekiq::{name}.new.then {keyed}") for name in ("RetrySet", "DeadSet", "ScheduledSet"))
    one = ruby(f"page('/retries/{retry}')")
    assert "jobs_of_both_sides.py" in one, "the backtrace"
    assert "Python fails" in one
    assert "buried" in ruby("page('/morgue')")
    assert "ValueError" in ruby(f"page('/morgue/{dead}')")
    assert "later" in ruby("page('/scheduled')")
    assert "Count" in ruby(f"page('/scheduled/{later}')")

    ruby(f"submit('/retries/{retry}', '/retries', kill: 1)")
    assert ruby("[Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size]") == [0, 2]
    ruby(f"submit('/morgue/{dead}', '/morgue', retry: 1)")
    ruby(f"submit('/scheduled/{later}', '/scheduled', add_to_queue: 1)")
    assert sorted(ruby("Sidekiq::Queue.new.map { |job| job.args.last }")) == ["buried", "later"]
    assert ruby("[Sidekiq::ScheduledSet.new.size, Sidekiq::DeadSet.new.size]") == [0, 1]


async def test_payloads_that_ruby_cannot_show_do_not_break_the_busy_page(
    ruby: Console, redis: Redis, start_worker: StartWorker, traces: Traces
) -> None:
    """Ruby's JSON refuses more than a hundred levels, and a page of ten megabytes helps nobody."""
    deep = '{"class":"Gated","args":["deep"],"jid":"deep","x":' + "[" * 150 + "]" * 150 + "}"
    large = '{"class":"Gated","args":["large"],"jid":"large","x":"' + "y" * 1_000_000 + '"}'
    await redis.lpush("queue:default", deep, large)
    await redis.sadd("queues", "default")
    start_worker("a")
    await traces.until("started:python", "deep", "large")
    await wait_until(lambda: ruby("Sidekiq::Workers.new.to_a.size") == 2, 40)
    page = ruby("page('/busy')")
    assert "bytes, not shown)" in page
    assert len(page) < 100_000
    shown = ruby("Sidekiq::Workers.new.map { |_, _, work| work['payload'].slice('class', 'jid') }")
    assert sorted(shown, key=lambda job: str(job["jid"])) == [
        {"class": "Gated", "jid": "deep"},
        {"class": "Gated", "jid": "large"},
    ]
    for name in ("deep", "large"):
        await traces.open_gate(name)
