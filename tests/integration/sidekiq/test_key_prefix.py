"""Our key prefix is what Sidekiq gets from the gem redis-namespace: both sides meet behind it, and only there."""

from __future__ import annotations

from typing import cast

import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.sidekiq.conftest import NAMESPACE, StartSidekiq, StartWorker, Traces, until_shown
from tests.integration.sidekiq.ruby_side import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_both_sides_meet_behind_a_prefix(
    ruby_in_namespace: Console,
    start_worker: StartWorker,
    start_sidekiq: StartSidekiq,
    traces: Traces,
    redis: Redis,
) -> None:
    ruby, client = ruby_in_namespace, Client(redis, NAMESPACE)
    ruby("Count.perform_async('ruby', 1)")
    ruby("Count.perform_in(0.5, 'ruby', 2)")
    worker = start_worker("a", "--key-prefix", NAMESPACE)
    await traces.until("counted:python", "ruby:1", "ruby:2")
    await client.enqueue("Gated", ["held"])
    await traces.until("started:python", "held")
    await wait_until(
        lambda: ruby("Sidekiq::Workers.new.map { |_, _, work| work['payload']['args'] }") == [["held"]], 20
    )
    assert (await until_shown(ruby, worker))["busy"] == 1
    ruby("Sidekiq::ProcessSet.new.first.stop!")
    await traces.open_gate("held")
    assert await worker.exit_code(40) == 0
    assert ruby("Sidekiq::ProcessSet.new.size") == 0

    await client.enqueue("Count", ["python", 1])
    await client.schedule(0.5, "Count", ["python", 2])
    sidekiq = start_sidekiq(key_prefix=NAMESPACE)
    await traces.until("counted:ruby", "python:1", "python:2")
    assert sidekiq.process.poll() is None
    keys = {key async for key in redis.scan_iter("*")}
    outside = {key for key in cast("set[bytes]", keys) if not key.startswith((NAMESPACE.encode(), b"test:"))}
    assert outside == set()
