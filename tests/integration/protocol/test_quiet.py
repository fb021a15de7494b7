"""After quiet is set no job can start, and what looks drained is asked once more before it is deleted."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Checkpoint, DrainAnswer, Finished, Number
from jobworker.protocol.scripts import FleetScripts
from tests.integration.protocol.conftest import Birth, both


async def test_a_quiet_worker_takes_nothing_and_hears_the_reason(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    assert await outside.quiet(worker.worker, "operator: Rollout") == 0
    taken = await worker.take(["default"], 1, 1)
    assert (taken.quiet, taken.entries) == ("operator: Rollout", ())
    assert (await worker.finish([], ["default"], 1, 1)).taken.quiet == "operator: Rollout"
    assert await worker.beat(5, 0, {}) == "operator: Rollout"


async def test_quiet_between_pop_and_start_sees_the_job(outside: FleetScripts, birth: Birth) -> None:
    """The worker has popped and not yet begun: whoever quiets it must be told that it holds a job."""
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    assert await outside.quiet(worker.worker, "operator: Rollout") == 1
    assert await outside.confirm_drained(worker.worker, "operator: Rollout", worker.epoch) is DrainAnswer.HELD


async def test_unquiet_lets_it_take_again(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await outside.quiet(worker.worker, "r")
    await outside.unquiet(worker.worker)
    assert len((await worker.take(["default"], 1, 1)).entries) == 1


async def test_a_restarted_container_stays_quiet(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.quiet(worker.worker, "operator: Rollout")
    again = await birth(register=False)
    assert await again.register(5, {}) == "operator: Rollout"


@pytest.mark.parametrize("round_number", range(50))
async def test_retire_against_take_has_one_winner(outside: FleetScripts, birth: Birth, round_number: int) -> None:
    """Either the pod is retired and takes nothing, or it takes the job and stays: never both, never neither."""
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    pair = [outside.retire(worker.worker, "operator: ScaleIn"), worker.take(["default"], 1, 1)]
    if round_number % 2:
        taken, held = await both(pair[1], pair[0])
    else:
        held, taken = await both(pair[0], pair[1])
    assert (held == 0) == (taken.entries == ())  # type: ignore[attr-defined]
    assert (held == 0) == (await worker.beat(5, 0, {}) is not None)


async def test_retire_loses_against_an_earlier_take_and_changes_nothing(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x", b"y"])
    await worker.take(["default"], 1, 1)
    assert await outside.retire(worker.worker, "operator: ScaleIn") == 1
    assert await redis.exists(keys.quiet(worker.worker)) == 0
    assert len((await worker.take(["default"], 1, 2)).entries) == 1


async def test_quiet_is_published_to_a_worker_whose_slots_are_all_busy(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    async with redis.pubsub() as listener:
        await listener.subscribe(keys.signal(worker.worker))
        await outside.quiet(worker.worker, "r")
        await outside.unquiet(worker.worker)
        heard = []
        async with asyncio.timeout(5):
            async for message in listener.listen():
                if message["type"] == "message":
                    heard.append(message["data"])
                if len(heard) == 2:
                    break
        assert heard == [b"quiet", b"unquiet"]


async def test_drained_is_confirmed_when_nothing_is_held_and_nothing_runs(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    await outside.quiet(worker.worker, "r")
    await worker.finish([Finished(Number(1), "default")])
    assert await outside.confirm_drained(worker.worker, "r", worker.epoch) is DrainAnswer.DRAINED


async def test_a_lost_quiet_fact_is_set_again_and_the_wait_begins_anew(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.quiet(worker.worker, "r")
    await redis.delete(keys.quiet(worker.worker))  # what a failover to a replica that lags behind does
    assert await outside.confirm_drained(worker.worker, "r", worker.epoch) is DrainAnswer.REQUIETED
    assert await outside.confirm_drained(worker.worker, "r", worker.epoch) is DrainAnswer.DRAINED


async def test_jobs_that_redis_forgot_but_the_process_runs_hold_the_pod(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.quiet(worker.worker, "r")
    await worker.beat(5, 3, {})
    assert await outside.confirm_drained(worker.worker, "r", worker.epoch) is DrainAnswer.RUNNING


async def test_another_life_than_the_one_looked_at_is_not_drained(outside: FleetScripts, birth: Birth) -> None:
    old = await birth()
    await outside.quiet(old.worker, "r")
    new = await birth(register=False)
    await new.register(5, {})
    assert await outside.confirm_drained(old.worker, "r", old.epoch) is DrainAnswer.MOVED
    assert await outside.confirm_drained(old.worker, "r", None) is DrainAnswer.MOVED


async def test_held_jobs_may_be_cut_only_when_each_has_a_young_checkpoint(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x", b"y"])
    await worker.take(["default"], 2, 1)
    await outside.quiet(worker.worker, "r")

    async def ask(age: float | None) -> DrainAnswer:
        return await outside.confirm_drained(worker.worker, "r", worker.epoch, age)

    await worker.checkpoint(Number(1), "jid1", Checkpoint(b"1", 1, 0.0))
    assert await ask(60) is DrainAnswer.HELD, "the second job has no checkpoint"
    await worker.checkpoint(Number(2), "jid2", Checkpoint(b"1", 1, 0.0))
    assert await ask(60) is DrainAnswer.CHECKPOINTED
    assert await ask(None) is DrainAnswer.HELD, "the spec allows no cut"
    await redis.hincrby(keys.checkpoints(worker.worker), "2", -61_000)
    assert await ask(60) is DrainAnswer.HELD, "its checkpoint is too old"


async def test_drained_is_announced_by_the_beat_of_an_empty_quiet_worker(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.quiet(worker.worker, "r")
    async with redis.pubsub() as listener:
        await listener.subscribe(keys.events)
        await worker.beat(5, 1, {})
        await redis.publish(keys.events, "between")
        await worker.beat(5, 0, {})
        heard = []
        async with asyncio.timeout(5):
            async for message in listener.listen():
                if message["type"] == "message":
                    heard.append(message["data"])
                if len(heard) == 2:
                    break
        assert heard == [b"between", b"drained pod-1"]
