"""Sidekiq's ProcessSet, Workers and Stats read our workers."""

from __future__ import annotations

import socket
import time

import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.sidekiq.conftest import PROCESSES, StartWorker, Traces, until_shown
from tests.integration.sidekiq.ruby_side import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_idle_worker_is_a_process_and_leaves_no_trace_when_it_ends(
    ruby: Console, start_worker: StartWorker, redis: Redis
) -> None:
    worker = start_worker("a", "-c", "7", "-q", "mails,5 imports", "--fleet", "shop/mailers", "--revision", "abc")
    process = await until_shown(ruby, worker)
    assert process["hostname"] == socket.gethostname()
    assert process["pid"] == worker.process.pid
    assert process["identity"].startswith(f"{socket.gethostname()}:{worker.process.pid}:")
    assert (process["tag"], process["labels"]) == ("shop/mailers", ["jobworker", "abc"])
    assert (process["concurrency"], process["queues"]) == (7, ["mails", "imports"])
    assert (process["busy"], process["quiet"], process["stopping"]) == (0, "false", False)
    assert 5_000 < process["rss"] < 1_000_000, "in kB"
    assert abs(process["beat"] - time.time()) < 60
    assert 0 < process["beat"] - process["started_at"] < 60
    assert ruby("Sidekiq::ProcessSet.new.total_concurrency") == 7
    assert 0 < await redis.ttl(process["identity"]) <= 60
    ruby("Sidekiq::ProcessSet.new.first.stop!")
    assert await worker.exit_code(40) == 0
    assert await redis.exists("processes") == 0, "before Sidekiq's own clean-up"
    assert ruby(PROCESSES) == []
    assert [key async for key in redis.scan_iter(f"{socket.gethostname()}:*")] == []


async def test_what_runs_is_seen_with_its_start(
    ruby: Console, start_worker: StartWorker, client: Client, traces: Traces, redis: Redis
) -> None:
    start_worker("a", "-c", "3")
    before = time.time()
    jids = [await client.enqueue("Gated", [name]) for name in ("one", "two")]
    await traces.until("started:python", "one", "two")
    after = time.time()
    works = """Sidekiq::Workers.new.map { |process, thread, work|
      {"process" => process, "thread" => thread, **work} }"""
    await wait_until(lambda: len(ruby(works)) == 2, 40)
    shown = ruby(works)
    assert [work["payload"]["args"] for work in shown] in ([["one"], ["two"]], [["two"], ["one"]])
    assert {work["payload"]["jid"] for work in shown} == set(jids)
    assert {work["queue"] for work in shown} == {"default"}
    assert all(isinstance(work["run_at"], int) and int(before) <= work["run_at"] <= after for work in shown)
    assert {work["process"] for work in shown} == {ruby("Sidekiq::ProcessSet.new.first.identity")}
    assert ruby("Sidekiq::Stats.new.then { |s| [s.processes_size, s.workers_size, s.enqueued, s.processed] }") == [
        1, 2, 0, 0,
    ]  # fmt: skip
    assert ruby("Sidekiq::Workers.new.size") == 2
    newer = f"{shown[0]['process']}:work"
    assert await redis.hlen(newer) == 2, "Sidekiq 7 and 8 read it there"
    assert 0 < await redis.ttl(newer) <= 60
    assert 0 < await redis.ttl(f"{shown[0]['process']}:workers") <= 60
    await traces.open_gate("one")
    await traces.open_gate("two")
    await wait_until(lambda: ruby("[Sidekiq::Workers.new.to_a.size, Sidekiq::Workers.new.size]") == [0, 0], 40)
    assert ruby("Sidekiq::Stats.new.then { |s| [s.processed, s.failed, s.workers_size] }") == [2, 0, 0]


async def test_foreign_keys_of_the_same_names_do_no_harm(
    start_worker: StartWorker, redis: Redis, client: Client, traces: Traces
) -> None:
    await redis.set("processes", "somebody else's")
    worker = start_worker("a")
    await client.enqueue("Count", ["python", 1])
    await traces.until("counted:python", "python:1")
    worker.process.terminate()
    assert await worker.exit_code(40) == 0
    assert await redis.get("processes") == b"somebody else's"
    assert "the key processes cannot be used" in worker.log
    assert "Redis refuses commands" not in worker.log
