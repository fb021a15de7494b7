"""One worker at a time looks after what is due; what it moves is moved once, whatever the entries are."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from redis.asyncio import Redis

from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scheduling import AT_ONCE, SCHEDULE, Followed, Led, Move, look, move, promote, release
from jobworker.protocol.scripts import FleetScripts
from tests.integration.protocol.conftest import FLEET, Birth
from tests.waiting import wait_until

A, B = WorkerId("a"), WorkerId("b")


def job(name: Any, queue: str = "default") -> bytes:
    return payloads.new("Import", [name], queue=queue, now=0.0).to_json()


async def lead(redis: Redis, keys: Keys) -> Led:
    seen = await look(redis, keys, A, 60)
    assert isinstance(seen, Led)
    return seen


async def test_one_leads_and_the_others_learn_for_how_long(redis: Redis, keys: Keys) -> None:
    await redis.sadd(keys.workers, A, B)
    seen = await asyncio.gather(*(look(redis, keys, worker, 60) for worker in (A, B)))
    (led,) = [answer for answer in seen if isinstance(answer, Led)]
    (followed,) = [answer for answer in seen if isinstance(answer, Followed)]
    assert led.workers == {A, B}
    assert 50 < followed.lease_seconds <= 60
    assert followed.workers == 2


async def test_who_goes_on_looking_goes_on_leading(redis: Redis, keys: Keys) -> None:
    await look(redis, keys, A, 1)
    await look(redis, keys, A, 100)
    followed = await look(redis, keys, B, 1)
    assert isinstance(followed, Followed)
    assert followed.lease_seconds > 10


async def test_another_leads_once_the_lease_has_ended_or_was_given_up(redis: Redis, keys: Keys) -> None:
    await look(redis, keys, A, 0.05)

    async def b_leads() -> bool:
        return isinstance(await look(redis, keys, B, 60), Led)

    await wait_until(b_leads, 10)
    await release(redis, keys, A)
    assert isinstance(await look(redis, keys, A, 60), Followed), "only who leads can give it up"
    await release(redis, keys, B)
    assert isinstance(await look(redis, keys, A, 60), Led)


async def test_due_entries_come_in_their_order_and_the_next_one_is_told(redis: Redis, keys: Keys) -> None:
    later = time.time() + 1000
    assert (await lead(redis, keys)).next_due is None
    await redis.zadd(keys.schedule, {b"second": 2.0, b"first": 1.0, b"later": later})
    await redis.zadd(keys.retry, {b"again": later - 100})
    seen = await lead(redis, keys)
    assert (seen.scheduled, seen.retries) == ((b"first", b"second"), ())
    await redis.zrem(keys.schedule, b"first", b"second")
    seen = await lead(redis, keys)
    assert (seen.scheduled, seen.retries) == ((), ())
    assert seen.next_due is not None
    assert abs(seen.next_due - (later - 100)) < 0.001


async def test_a_look_is_bounded_in_entries_and_in_bytes(redis: Redis, keys: Keys) -> None:
    await redis.zadd(keys.schedule, {b"%d" % n: n for n in range(3 * AT_ONCE)})
    await redis.zadd(keys.retry, {bytes([n]) * 400_000: n for n in range(20)})
    seen = await lead(redis, keys)
    assert seen.scheduled == tuple(b"%d" % n for n in range(AT_ONCE))
    assert [entry[0] for entry in seen.retries] == [0, 1, 2], "and what was begun with is not more than a megabyte"


async def test_what_is_no_job_is_buried_and_the_jobs_beside_it_move(redis: Redis, keys: Keys) -> None:
    strange = [b"\xff\x00 not json", b"[]", b'{"class":"A"}']
    jobs = [job(1), job(2, "mails")]
    await redis.zadd(keys.retry, dict.fromkeys([*strange, *jobs], 1.0))
    promoted = await promote(redis, keys, keys.retry, [*strange, *jobs], 1000.5)
    assert promoted.moved == 5
    assert len(promoted.buried) == 3
    assert set(await redis.zrange(keys.dead, 0, -1)) == set(strange)
    assert await redis.zscore(keys.dead, b"[]") == 1000.5
    assert await redis.smembers(keys.queues) == {b"default", b"mails"}
    (raw,) = await redis.lrange(keys.queue("mails"), 0, -1)
    assert orjson.loads(raw)["enqueued_at"] == 1000.5


async def test_queue_that_is_no_list_costs_no_job(redis: Redis, keys: Keys) -> None:
    """Somebody's key stands where the queue should: a script that fails half-way would have removed what it moves."""
    await redis.set(keys.queue("taken"), "somebody's")
    blocked, good = job(1, "taken"), job(2)
    await redis.zadd(keys.schedule, {blocked: 1.0, good: 1.0})
    promoted = await promote(redis, keys, keys.schedule, [blocked, good], 5.0)
    assert promoted.moved == 2
    assert "no lists" in promoted.buried[0]
    assert await redis.llen(keys.queue("default")) == 1
    (raw,) = await redis.zrange(keys.dead, 0, -1)
    assert b'"args":[1]' in raw


async def test_who_was_moved_or_deleted_since_the_look_is_passed_over(redis: Redis, keys: Keys) -> None:
    await redis.zadd(keys.schedule, {b"there": 1.0})
    moves = [Move(b"gone", "default", b"1"), Move(b"there", "default", b"2"), Move(b"gone too", None, b"3")]
    assert await move(redis, keys, keys.schedule, moves, 5.0) == 1
    assert await redis.lrange(keys.queue("default"), 0, -1) == [b"2"]
    assert await redis.zcard(keys.dead) == 0


async def test_only_what_comes_sooner_than_all_others_nudges(redis: Redis, keys: Keys) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(keys.due)
        await channel.get_message(timeout=5)
        for score, payload in ((100, b"first"), (200, b"later"), (50, b"sooner"), (60, b"in between")):
            await SCHEDULE(redis, [keys.schedule], [keys.due, score, payload])
        await redis.publish(keys.due, "end")
        heard: list[bytes] = []
        while not heard or heard[-1] != b"end":
            message = await channel.get_message(timeout=5)
            assert message is not None
            heard.append(message["data"])
    assert heard == [b"sooner", b"sooner", b"end"]
    assert await redis.zcard(keys.schedule) == 4


async def test_a_death_that_waits_is_told_to_all(redis: Redis, keys: Keys) -> None:
    await redis.zadd(keys.deaths, {b"claimed": time.time() + 1000})
    assert (await lead(redis, keys)).deaths is False
    await redis.zadd(keys.deaths, {b"waiting": 1.0})
    assert (await lead(redis, keys)).deaths is True
    assert (await look(redis, keys, B, 60)).deaths is True


async def test_due_jobs_move_and_the_dead_are_rescued_while_redis_is_full(
    redis: Redis, keys: Keys, birth: Birth
) -> None:
    """They must: only jobs that end make room again."""
    fleet = FleetScripts(redis, keys)
    await redis.zadd(keys.schedule, {job(1): 1.0})
    await fleet.enqueue("mails", [job(2, "mails")])
    worker = await birth()
    await worker.take(["mails"], 1, 1)
    await redis.config_set("maxmemory", 1)
    try:
        seen = await lead(redis, keys)
        assert (await promote(redis, keys, keys.schedule, seen.scheduled, seen.now)).moved == 1
        assert (await rescue(fleet, worker.worker, FLEET, Death(vouched=True))).moved == 1
        await release(redis, keys, A)
    finally:
        await redis.config_set("maxmemory", 0)
    assert [await redis.llen(keys.queue(queue)) for queue in ("default", "mails")] == [1, 1]
