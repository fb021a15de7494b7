"""A worker that only slept comes back and does no harm; a job that kills its workers is buried, and that is told."""

from __future__ import annotations

import signal

import orjson
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.keys import Keys
from jobworker.protocol.rescue import DEATHS, STORY
from tests.integration.worker.conftest import StartWorker, Traces
from tests.waiting import wait_until

KEYS = Keys()


async def test_worker_that_was_stopped_comes_back_and_does_no_harm(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    sleeper = start_worker("a", "-c", "2")
    await sleeper.registered(redis)
    await client.enqueue("AsyncItems", [10, 4])
    await client.enqueue("gated", ["x"])
    await traces.until_started("x", "held")
    heir = start_worker("b", "-c", "2")
    await heir.registered(redis)
    sleeper.signal(signal.SIGSTOP)
    await traces.until_started("x", "held", times=2, seconds=40)
    sleeper.signal(signal.SIGCONT)
    await wait_until(lambda: "took this worker for dead" in sleeper.log, 20)
    await traces.open_gate("held")
    await traces.open_gate("x")

    async def both_ended() -> bool:
        return int(await redis.get(KEYS.stat("processed")) or 0) == 2

    await wait_until(both_ended, 20)
    items = await traces("items")
    assert sorted(items, key=int) == [str(n) for n in range(10)]
    assert {item for item, times in items.items() if times > 1} <= {"0", "1", "2", "3"}, "before its last checkpoint"
    assert (await traces("callbacks"))["complete"] == 1
    assert await redis.zcard(KEYS.retry) == await redis.zcard(KEYS.dead) == 0
    # It lives on under a new epoch, and takes jobs again.
    heir.signal(signal.SIGTERM)
    assert await heir.exit_code() == 0
    await client.enqueue("count_async", [1])
    await wait_until(lambda: traces("async"), 20)


async def test_job_that_kills_its_workers_lies_in_the_dead_set_with_its_story_and_its_handlers_are_called(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    await client.enqueue("kills_its_worker", [7], jw_poison_after=1)
    watcher = start_worker("watcher", "-q", "nothing")
    await watcher.registered(redis)
    victim = start_worker("victim")
    assert await victim.exit_code(30) == -signal.SIGKILL
    await wait_until(lambda: traces("deaths"), 60)
    (raw,) = await redis.zrange(KEYS.dead, 0, -1)
    dead = orjson.loads(raw)  # type: ignore[arg-type]  # without scores it is bytes
    assert dead["error_class"] == "Poison"
    assert (dead[DEATHS], [death["worker"] for death in dead[STORY]]) == (1, ["victim"])
    assert "a worker died running this job" in dead["error_message"]
    assert await traces("deaths") == {"Poison 7": 1}
    assert await redis.llen(KEYS.queue("default")) == 0
