"""Limits of queues: never exceeded, and no slot stays taken when its holder is gone."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from redis.asyncio import Redis

from jobworker.errors import ConfigurationError
from jobworker.protocol.keys import Keys
from jobworker.protocol.limits import QueueLimit, inflight, limits, set_limit
from jobworker.protocol.records import Finished, GivenBack, Number, Outcome
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from tests.integration.protocol.conftest import FLEET, Birth, both

pytestmark = pytest.mark.redis


async def test_two_takers_that_race_for_the_last_slot_do_not_both_get_it(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    first, second = await birth("pod-1"), await birth("pod-2")
    await set_limit(redis, keys, "reports", QueueLimit(cluster=3))
    await outside.enqueue("reports", [b"%d" % n for n in range(10)])
    assert len((await first.take(["reports"], 2, 1)).entries) == 2
    a, b = await both(first.take(["reports"], 5, 3), second.take(["reports"], 5, 1))
    assert sorted(len(taken.entries) for taken in (a, b)) == [0, 1]  # type: ignore[attr-defined]  # both are Taken
    assert await inflight(redis, keys) == {"reports": 3}


async def test_a_queue_at_its_limit_is_passed_over_and_others_are_not(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await set_limit(redis, keys, "reports", QueueLimit(cluster=1))
    await outside.enqueue("reports", [b"r1", b"r2"])
    await outside.enqueue("mails", [b"m1", b"m2"])
    taken = await worker.take(["reports", "mails"], 10, 1)
    assert [entry.payload for entry in taken.entries] == [b"r1", b"m1", b"m2"]


async def test_an_end_frees_the_slot_in_the_step_that_takes_the_next(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await set_limit(redis, keys, "reports", QueueLimit(cluster=1))
    await outside.enqueue("reports", [b"r1", b"r2", b"r3"])
    await worker.take(["reports"], 5, 1)
    answer = await worker.finish([], ["reports"], 5, 2, done={"reports": [1]})
    assert [entry.payload for entry in answer.taken.entries] == [b"r2"]
    failed = Finished(Number(2), "reports", Outcome.RETRY, 1.0, b"r2 again")
    answer = await worker.finish([failed], ["reports"], 5, 7)
    assert [entry.payload for entry in answer.taken.entries] == [b"r3"]


async def test_the_death_of_a_holder_frees_its_slots(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    dead, heir = await birth("pod-1"), await birth("pod-2")
    await set_limit(redis, keys, "reports", QueueLimit(cluster=2))
    await outside.enqueue("reports", [b"r1", b"r2"])
    await dead.take(["reports"], 5, 1)
    assert (await heir.take(["reports"], 5, 1)).entries == ()
    await rescue(outside, dead.worker, FLEET, Death(vouched=True))
    assert [entry.payload for entry in (await heir.take(["reports"], 5, 6)).entries] == [b"r1", b"r2"]
    assert await inflight(redis, keys) == {"reports": 2}


async def test_a_limit_by_worker_counts_what_the_worker_says_it_holds(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    first, second = await birth("pod-1"), await birth("pod-2")
    await set_limit(redis, keys, "reports", QueueLimit(worker=2))
    await outside.enqueue("reports", [b"%d" % n for n in range(10)])
    assert len((await first.take(["reports"], 5, 1)).entries) == 2
    assert (await first.take(["reports"], 5, 6, {"reports": 2})).entries == ()
    assert len((await second.take(["reports"], 5, 1)).entries) == 2


async def test_queues_behind_a_blocking_one_wait_while_it_is_worked_on(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    first, second = await birth("pod-1"), await birth("pod-2")
    await set_limit(redis, keys, "migrations", QueueLimit(cluster=1, blocking=True))
    await outside.enqueue("migrations", [b"migrate"])
    await outside.enqueue("mails", [b"mail"])
    order = ["migrations", "mails"]
    assert [entry.payload for entry in (await first.take(order, 5, 1)).entries] == [b"migrate"]
    assert (await second.take(order, 5, 1)).entries == ()
    answer = await first.finish([], order, 5, 6, done={"migrations": [1]})
    assert [entry.payload for entry in answer.taken.entries] == [b"mail"]


async def test_a_limit_that_is_lifted_or_lowered_counts_from_the_next_take_on(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("reports", [b"%d" % n for n in range(10)])
    await worker.take(["reports"], 4, 1)
    await set_limit(redis, keys, "reports", QueueLimit(cluster=2))
    assert (await worker.finish([], ["reports"], 5, 5, done={"reports": [1]})).taken.entries == ()
    await set_limit(redis, keys, "reports", QueueLimit())
    assert await limits(redis, keys) == {}
    assert len((await worker.take(["reports"], 5, 10)).entries) == 5


@pytest.mark.parametrize("seed", range(3))
async def test_slots_taken_are_always_the_jobs_held(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, seed: int
) -> None:
    chance = random.Random(seed)
    queues = ["a", "b", "c"]
    lives = [await birth("pod-1"), await birth("pod-2")]
    number = 1

    async def held(life: WorkerScripts) -> list[tuple[Number, str, bytes]]:
        return [(entry.number, entry.queue, entry.payload) for entry in await outside.held(life.worker)]

    for step in range(120):
        place = chance.randrange(2)
        life = lives[place]
        holds = chance.sample(known := await held(life), chance.randint(0, len(known)))
        await outside.enqueue(chance.choice(queues), [b"%d" % step])
        match chance.choice(["take", "finish", "fail", "back", "die", "hold", "change the limit"]):
            case "take":
                await life.take(chance.sample(queues, 3), chance.randint(1, 5), number)
            case "finish":
                done: dict[str, list[int]] = {}
                for n, queue, _ in holds:
                    done.setdefault(queue, []).append(n)
                await life.finish([], queues, 2, number, done=done)
            case "fail":
                ends = [Finished(n, queue, Outcome.DEAD, 1.0, payload) for n, queue, payload in holds]
                await life.finish(ends, queues, 1, number)
            case "back":
                await life.give_back([GivenBack(n, queue, payload) for n, queue, payload in holds])
            case "die":
                await rescue(outside, life.worker, FLEET, Death(vouched=True))
                lives[place] = await birth(life.worker)
            case "hold":
                await life.hold(await outside.held(life.worker))
            case _:
                await set_limit(redis, keys, chance.choice(queues), QueueLimit(cluster=chance.choice([None, 0, 2])))
        number += 10
        counted = Counter([queue for each in lives for _, queue, _ in await held(each)])
        assert await inflight(redis, keys) == dict(counted)


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="limit by worker is -1"):
        QueueLimit(worker=-1)
