"""Pop and record are one step; the end of a job counts once, and only for its holder."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from jobworker.errors import StaleEpoch
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Finished, GivenBack, Number, Outcome
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from tests.integration.protocol.conftest import Birth


async def test_what_is_taken_is_held_until_it_is_finished(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"one", b"two", b"three"])
    taken = await worker.take(["default"], 2, 1)
    assert [(e.number, e.queue, e.payload) for e in taken.entries] == [(1, "default", b"one"), (2, "default", b"two")]
    held = await outside.held(worker.worker)
    assert [(e.number, e.queue, e.payload) for e in held] == [(1, "default", b"one"), (2, "default", b"two")]
    assert abs(held[0].taken_ms / 1000 - time.time()) < 60
    answer = await worker.finish([Finished(Number(1), "default"), Finished(Number(2), "default")], ["default"], 5, 3)
    assert [(e.number, e.payload) for e in answer.taken.entries] == [(3, b"three")]
    assert [e.number for e in await outside.held(worker.worker)] == [3]
    assert await redis.get(keys.stat("processed")) == b"2"


async def test_bytes_that_are_no_json_can_be_held(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    junk = bytes(range(256)) + b"\n \n"
    await outside.enqueue("default", [junk])
    (entry,) = (await worker.take(["default"], 1, 1)).entries
    assert entry.payload == junk
    assert [e.payload for e in await outside.held(worker.worker)] == [junk]


async def test_two_takers_never_get_the_same_job(outside: FleetScripts, birth: Birth) -> None:
    first, second = await birth("pod-1"), await birth("pod-2")
    jobs = [b"%d" % n for n in range(500)]
    await outside.enqueue("default", jobs)

    async def drain(worker: WorkerScripts) -> list[bytes]:
        got: list[bytes] = []
        number = 1
        while entries := (await worker.take(["default"], 3, number)).entries:
            got += [e.payload for e in entries]
            number += len(entries)
        return got

    a, b = await asyncio.gather(drain(first), drain(second))
    assert sorted(a + b) == sorted(jobs)
    assert a
    assert b


async def test_queues_are_emptied_in_the_order_asked_for(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("low", [b"l1", b"l2"])
    await outside.enqueue("high", [b"h1", b"h2"])
    taken = await worker.take(["high", "low"], 3, 1)
    assert [e.payload for e in taken.entries] == [b"h1", b"h2", b"l1"]


async def test_a_paused_queue_is_passed_over(redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("high", [b"h"])
    await outside.enqueue("low", [b"l"])
    await redis.sadd(keys.paused, "high")
    assert [e.payload for e in (await worker.take(["high", "low"], 5, 1)).entries] == [b"l"]


async def test_a_batch_larger_than_luas_stack_is_taken_whole(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"] * 5000)
    taken = await worker.take(["default"], 1000, 1)
    assert len(taken.entries) == 1000
    answer = await worker.finish([Finished(e.number, "default") for e in taken.entries], ["default"], 10, 1001)
    assert len(answer.taken.entries) == 10


async def test_failed_jobs_go_where_their_outcome_says(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"a", b"b", b"c"])
    await worker.take(["default"], 3, 1)
    now = time.time()
    await worker.finish(
        [
            Finished(Number(1), "default", Outcome.RETRY, now + 20, b"a again"),
            Finished(Number(2), "default", Outcome.DEAD, now, b"b's end"),
            Finished(Number(3), "default", Outcome.FAILED),
        ]
    )
    assert await redis.zrange(keys.retry, 0, -1) == [b"a again"]
    assert await redis.zrange(keys.dead, 0, -1) == [b"b's end"]
    assert await redis.get(keys.stat("failed")) == b"3"
    assert await outside.held(worker.worker) == ()


async def test_the_dead_set_forgets_what_is_older_than_half_a_year(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await redis.zadd(keys.dead, {"ancient": time.time() - 181 * 86400})
    await outside.enqueue("default", [b"a"])
    await worker.take(["default"], 1, 1)
    await worker.finish([Finished(Number(1), "default", Outcome.DEAD, time.time(), b"fresh")])
    assert await redis.zrange(keys.dead, 0, -1) == [b"fresh"]


async def test_finishing_twice_counts_once(redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"a"])
    await worker.take(["default"], 1, 1)
    await worker.finish([Finished(Number(1), "default", Outcome.RETRY, 1.0, b"a again")])
    answer = await worker.finish([Finished(Number(1), "default", Outcome.RETRY, 2.0, b"a again")])
    assert answer.lost == 1
    assert await redis.get(keys.stat("processed")) == b"1"
    assert await redis.zscore(keys.retry, b"a again") == 1.0


async def test_takes_that_were_given_up_take_nothing_however_late_they_come(
    outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"one", b"two", b"three"])
    await worker.take(["default"], 1, 1)
    await worker.void_takes(10)
    assert (await worker.take(["default"], 5, 9)).entries == ()
    late = await worker.finish([Finished(Number(1), "default")], ["default"], 5, 9)
    assert (late.lost, late.taken.entries) == (0, ())  # what it tells counts
    (of_another_process,) = (await worker.take(["default"], 1, (1 << 36) + 1)).entries
    assert of_another_process.payload == b"two"
    assert [e.number for e in (await worker.take(["default"], 5, 10)).entries] == [10]


async def test_takes_are_given_up_by_the_present_life_only(outside: FleetScripts, birth: Birth) -> None:
    before = await birth()
    now = await birth()
    with pytest.raises(StaleEpoch):
        await before.void_takes(10)
    await now.void_takes(10)
    after = await birth()
    await outside.enqueue("default", [b"one"])
    assert [e.number for e in (await after.take(["default"], 1, 1)).entries] == [1]


async def test_given_back_jobs_are_taken_next_and_in_their_old_order(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"1", b"2", b"3"])
    entries = (await worker.take(["default"], 2, 1)).entries
    assert await worker.give_back([GivenBack(e.number, e.queue, e.payload) for e in entries]) == ()
    assert await outside.held(worker.worker) == ()
    assert [e.payload for e in (await worker.take(["default"], 3, 3)).entries] == [b"1", b"2", b"3"]


async def test_a_job_given_back_to_the_back_is_taken_last(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"1", b"2"])
    (entry,) = (await worker.take(["default"], 1, 1)).entries
    await worker.give_back([GivenBack(entry.number, "default", entry.payload, "back")])
    assert [e.payload for e in (await worker.take(["default"], 2, 2)).entries] == [b"2", b"1"]


async def test_jobs_are_given_back_to_a_redis_that_is_full(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    """A worker that leaves would else have to hold them until somebody makes room."""
    worker = await birth()
    await outside.enqueue("default", [b"one"])
    await worker.take(["default"], 1, 1)
    await redis.config_set("maxmemory", 1)
    try:
        assert await worker.give_back([GivenBack(Number(1), "default", b"one")]) == ()
    finally:
        await redis.config_set("maxmemory", 0)
    assert await redis.lrange(keys.queue("default"), 0, -1) == [b"one"]


async def test_a_job_that_is_not_held_is_not_given_back(redis: Redis, keys: Keys, birth: Birth) -> None:
    worker = await birth()
    assert await worker.give_back([GivenBack(Number(7), "default", b"ghost")]) == (7,)
    assert await redis.llen(keys.queue("default")) == 0


async def test_an_enqueue_wakes_as_many_workers_as_there_are_jobs_within_a_bound(
    redis: Redis, keys: Keys, outside: FleetScripts
) -> None:
    await outside.enqueue("default", [b"x"])
    assert await redis.llen(keys.wake("default")) == 1
    await outside.enqueue("default", [b"x"] * 500)
    assert await redis.llen(keys.wake("default")) == 16
    assert 0 < await redis.ttl(keys.wake("default")) <= 60


async def test_scripts_survive_that_redis_forgets_them(redis: Redis, outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await redis.script_flush()
    await outside.enqueue("default", [b"x"])
    assert len((await worker.take(["default"], 1, 1)).entries) == 1


async def test_the_life_before_can_do_nothing_any_more(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    old = await birth()
    await outside.enqueue("default", [b"x"])
    await birth()
    with pytest.raises(StaleEpoch):
        await old.take(["default"], 1, 1)
    with pytest.raises(StaleEpoch):
        await old.beat(5, 0, {})
    with pytest.raises(StaleEpoch):
        await old.finish([Finished(Number(1), "default")])
    with pytest.raises(StaleEpoch):
        await old.give_back([])
    with pytest.raises(StaleEpoch):
        await old.deregister()
    assert await redis.llen(keys.queue("default")) == 1
