"""What Sidekiq's API and web page send to a process reaches our workers: quiet!, stop! and dump_threads."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.protocol.scripts import FleetScripts
from tests.integration.sidekiq.conftest import StartWorker, Traces, until_shown
from tests.integration.sidekiq.ruby_side import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_quiet_and_then_stop_are_obeyed(
    ruby: Console, start_worker: StartWorker, client: Client, traces: Traces
) -> None:
    worker = start_worker("a", "-c", "2")
    await client.enqueue("Gated", ["held"])
    await traces.until("started:python", "held")
    await wait_until(lambda: ruby("Sidekiq::ProcessSet.new.first&.[]('busy')") == 1, 40)
    ruby("Sidekiq::ProcessSet.new.each(&:quiet!)")
    await wait_until(lambda: ruby("Sidekiq::ProcessSet.new.first.stopping?"), 40)
    assert "SIGTSTP" in worker.log
    await client.enqueue("Count", ["python", 1])
    assert ruby("Sidekiq::Queue.new.size") == 1, "a quiet worker takes nothing"
    ruby("Sidekiq::ProcessSet.new.each(&:stop!)")
    await traces.open_gate("held")
    assert await worker.exit_code(40) == 0
    assert await traces("done:python") == {"held": 1}
    assert ruby("[Sidekiq::ProcessSet.new.size, Sidekiq::Queue.new.size]") == [0, 1]


async def test_quiet_by_the_operator_is_seen_and_its_end_too(
    ruby: Console, start_worker: StartWorker, redis: Redis
) -> None:
    start_worker("a")
    stopping = "Sidekiq::ProcessSet.new.first&.stopping?"
    await wait_until(lambda: ruby(stopping) is False, 40)
    await FleetScripts(redis, Keys()).quiet(WorkerId("a"), "operator: Rollout")
    await wait_until(lambda: ruby(stopping) is True, 40)
    await FleetScripts(redis, Keys()).unquiet(WorkerId("a"))
    await wait_until(lambda: ruby(stopping) is False, 40)


async def test_other_signals_from_redis_are_not_obeyed(start_worker: StartWorker, ruby: Console, redis: Redis) -> None:
    worker = start_worker("a")
    identity = (await until_shown(ruby, worker))["identity"]
    await redis.lpush(f"{identity}-signals", "KILL", "nonsense", "TTIN")
    await FleetScripts(redis, Keys()).quiet(WorkerId("a"), "for what is new is shown at once, and signals are heard")
    await wait_until(lambda: "task is at" in worker.log, 40)
    assert worker.log.count("unknown signal from Sidekiq's API") == 2
    assert worker.process.poll() is None
