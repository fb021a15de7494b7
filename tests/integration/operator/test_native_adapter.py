"""What the operator sees of workers in a real Redis, and does to them."""

from __future__ import annotations

import time

import pytest
from redis.asyncio import Redis

from jobworker.protocol.control import park
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import new
from jobworker.protocol.records import DrainAnswer, Finished, Number, RescueAnswer
from jobworker.protocol.scripts import FleetScripts
from jobworker_operator.adapters.connections import BadAddress, connect, without_password
from jobworker_operator.adapters.native import NativeAdapter
from jobworker_operator.adapters.port import Ask
from jobworker_operator.model.facts import WorkerActivity
from tests.integration.operator.conftest import FLEET, Birth


async def test_a_look_tells_pods_orphans_and_queues_of_each_jobworker(
    adapter: NativeAdapter, birth: Birth, outside: FleetScripts
) -> None:
    await birth("busy", 3)
    await birth("orphan", 1)
    await birth("elsewhere", 2, fleet="shop/others")
    await outside.enqueue("default", [new("Mail", [], queue="default", now=1.0).to_json()] * 4)
    mailers, others = await adapter.look(
        [Ask(FLEET, ("busy", "unborn"), ("default", "low")), Ask("shop/others", ("elsewhere",), ())]
    )
    assert set(mailers.activities) == {"busy", "unborn", "orphan"}
    assert mailers.activities["busy"].held == 3
    assert mailers.activities["busy"].epoch == "life of busy"
    assert mailers.activities["unborn"] == WorkerActivity()
    assert mailers.orphans == ("orphan",)
    assert [(queue.name, queue.depth) for queue in mailers.queues] == [("default", 4), ("low", 0)]
    assert others.orphans == ()
    assert others.activities["elsewhere"].held == 2


async def test_a_look_at_many_workers_is_cut_into_pieces(adapter: NativeAdapter, birth: Birth) -> None:
    await birth("last", 1)
    uids = tuple(f"pod-{number}" for number in range(1200))
    (facts,) = await adapter.look([Ask(FLEET, (*uids, "last"))])
    assert len(facts.activities) == 1201
    assert facts.activities["last"].held == 1


async def test_retries_that_are_due_within_a_minute_are_counted(adapter: NativeAdapter, redis: Redis) -> None:
    await redis.zadd(Keys().retry, {"soon": time.time() + 30, "later": time.time() + 3600})
    await redis.zadd(Keys().schedule, {"overdue": time.time() - 5})
    (facts,) = await adapter.look([Ask(FLEET, ())])
    assert facts.due_soon == 2


async def test_paused_jobs_are_counted_and_are_neither_held_nor_queued(
    adapter: NativeAdapter, birth: Birth, outside: FleetScripts, redis: Redis
) -> None:
    worker = await birth("pod-1", 0)
    job = new("Import", [], queue="default", now=1.0)
    await outside.enqueue("default", [job.to_json()])
    (entry,) = (await worker.take(["default"], 1, 1)).entries
    await redis.hset(Keys().iteration(job.jid), "paused", "1")
    assert await park(redis, Keys(), worker.worker, worker.epoch, entry, job.jid)
    (facts,) = await adapter.look([Ask(FLEET, ("pod-1",), ("default",))])
    assert (facts.paused_jobs, facts.activities["pod-1"].held, facts.queues[0].depth) == (1, 0, 0)
    assert await adapter.retire("pod-1", "operator: ScaleIn") == 0


async def test_only_an_idle_worker_can_be_retired(adapter: NativeAdapter, birth: Birth) -> None:
    worker = await birth("pod-1", 1)
    assert await adapter.retire("pod-1", "operator: ScaleIn") == 1
    assert (await worker.take(["default"], 1, 2)).quiet is None
    await worker.finish([Finished(Number(1), "default")])
    assert await adapter.retire("pod-1", "operator: ScaleIn") == 0
    assert (await worker.take(["default"], 1, 2)).quiet == "operator: ScaleIn"


async def test_a_worker_is_drained_when_it_has_finished_and_not_before(adapter: NativeAdapter, birth: Birth) -> None:
    worker = await birth("pod-1", 1)
    await adapter.quiet("pod-1", "operator: Rollout")
    assert await adapter.confirm_drained("pod-1", "operator: Rollout", worker.epoch, None) is DrainAnswer.HELD
    await worker.finish([Finished(Number(1), "default")])
    assert await adapter.confirm_drained("pod-1", "operator: Rollout", "another life", None) is DrainAnswer.MOVED
    assert await adapter.confirm_drained("pod-1", "operator: Rollout", worker.epoch, None) is DrainAnswer.DRAINED


async def test_a_rescue_of_one_life_leaves_the_next_one_alone(
    adapter: NativeAdapter, birth: Birth, redis: Redis
) -> None:
    await birth("pod-1", 2)
    other = await adapter.rescue("pod-1", FLEET, epoch="a life before", planned=True, forget=False)
    assert (other.answer, other.moved) == (RescueAnswer.MOVED, 0)
    rescued = await adapter.rescue("pod-1", FLEET, epoch="life of pod-1", planned=True, forget=True)
    assert (rescued.answer, rescued.moved) == (RescueAnswer.OK, 2)
    assert await redis.llen(Keys().queue("default")) == 2


async def test_a_worker_tells_its_pod(adapter: NativeAdapter, birth: Birth) -> None:
    await birth("uid-1", pod="mailers-r1-abcde")
    assert await adapter.pod_of("uid-1") == "mailers-r1-abcde"
    assert await adapter.pod_of("nobody") is None


@pytest.mark.parametrize("url", ["http://redis", "redis", "", "redis://h:port/0", "redis://:pa/ss@host/0"])
def test_an_address_that_cannot_be_one_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(BadAddress, match="redis://") as refused:
        _ = connect(url)
    assert "pa/ss" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:secret@host/1?ssl=1", "rediss://user:***@host/1"),
        ("redis://host:6379", "redis://host:6379"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
