"""What was shown of a worker goes with it, also when nobody could say goodbye."""

from __future__ import annotations

import os

import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.sidekiq.conftest import PROCESSES, StartWorker, Traces
from tests.integration.sidekiq.ruby_side import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_killed_worker_is_hidden_when_its_jobs_are_rescued(
    ruby: Console, start_worker: StartWorker, client: Client, traces: Traces
) -> None:
    killed = start_worker("a")
    await client.enqueue("Gated", ["held"])
    works = "Sidekiq::Workers.new.map { |process, _, work| [process.split(':')[1].to_i, work['payload']['args'][0]] }"
    await wait_until(lambda: ruby(works) == [[killed.process.pid, "held"]], 40)
    killed.process.kill()
    living = start_worker("b")
    await wait_until(lambda: ruby(works) == [[living.process.pid, "held"]], 40)
    assert [process["pid"] for process in ruby(PROCESSES)] == [living.process.pid]
    await traces.open_gate("held")
    await traces.until("done:python", "held")


async def test_process_without_a_record_is_taken_out_by_a_living_worker(
    start_worker: StartWorker, redis: Redis
) -> None:
    dead = f"gone:{os.getpid()}:abcdef012345"
    await redis.sadd("processes", dead)
    start_worker("a")

    async def gone() -> bool:
        names = await redis.smembers("processes")
        return len(names) == 1 and dead.encode() not in names

    await wait_until(gone, 40)
