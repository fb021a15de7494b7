"""Who is the last of the slices is decided once, in whatever order and however often their ends are told."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker.client.control import carry_out_async
from jobworker.errors import NotHeld, StaleEpoch
from jobworker.protocol import control, slices
from jobworker.protocol import payload as payloads
from jobworker.protocol.control import Wanted
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import Payload
from jobworker.protocol.records import Entry, Number
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from jobworker.protocol.slices import JOINS, Slice, Split
from tests.integration.protocol.conftest import Birth

pytestmark = pytest.mark.redis

WHOLE = (
    b'{"class":"Sum","args":[1],"jid":"%b","queue":"default","retry":3,"tenant":"acme","created_at":%b,"retry_count":1}'
)


async def taken(outside: FleetScripts, worker: WorkerScripts, raw: bytes, number: int = 1) -> Entry:
    await outside.enqueue("default", [raw])
    (entry,) = (await worker.take(["default"], 1, number)).entries
    return entry


def whole(jid: bytes = b"one", created: bytes = b"1700000000.5") -> Payload:
    return payloads.parse(WHOLE % (jid, created))


async def held_slices(worker: WorkerScripts, count: int) -> list[tuple[Number, Payload, Slice]]:
    entries = (await worker.take(["default"], count + 1, 100)).entries
    assert len(entries) == count
    found = [(entry.number, payloads.parse(entry.payload)) for entry in entries]
    parts = [Slice.read(job.extra) for _, job in found]
    return [(number, job, part) for (number, job), part in zip(found, parts, strict=True) if part is not None]


@pytest.mark.parametrize("created", [b"1700000000.5", b"1700000000500"], ids=["seconds", "milliseconds"])
async def test_slices_have_all_that_the_job_had_but_its_failures(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, created: bytes
) -> None:
    worker = await birth()
    job = whole(created=created)
    entry = await taken(outside, worker, job.to_json())
    assert await slices.split(worker, keys, entry.number, job, [[0, 5], "x"], None) is Split.SPLIT
    found = await held_slices(worker, 2)
    assert [(part.number, part.count, part.value, part.of) for _, _, part in found] == [
        (0, 2, [0, 5], "one"),
        (1, 2, "x", "one"),
    ]
    for number, made, part in found:
        assert (made.jid, made.job_class, made.args, made.queue, made.retry) == (
            f"ones{part.number}", "Sum", [1], "default", 3,
        )  # fmt: skip
        assert made.extra["tenant"] == "acme"
        assert "retry_count" not in made.extra
        assert type(made.extra["enqueued_at"]) is type(made.extra["created_at"])
        await slices.over(worker, keys, number, made.jid, part, cancelled=False, kept_seconds=60)
    ((_, joins),) = [
        (entry.number, payloads.parse(entry.payload)) for entry in (await worker.take(["default"], 2, 200)).entries
    ]
    assert (joins.jid, joins.extra[JOINS], joins.extra["tenant"], "retry_count" in joins.extra) == (
        "one",
        True,
        "acme",
        False,
    )
    assert type(joins.extra["enqueued_at"]) is type(joins.extra["created_at"])
    assert joins.enqueued_at is not None
    assert joins.enqueued_at > 1_700_000_001


@pytest.mark.parametrize("seed", range(12))
async def test_join_is_enqueued_once_in_every_order_of_ends_that_are_told_again_and_again(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, seed: int
) -> None:
    chance, worker = random.Random(seed), await birth()
    job = whole()
    entry = await taken(outside, worker, job.to_json())
    count = chance.randint(1, 6)
    answers = [await slices.split(worker, keys, entry.number, job, [0] * count, None) for _ in range(3)]
    assert answers == [Split.SPLIT, Split.ALREADY, Split.ALREADY]
    found = await held_slices(worker, count)
    told = found * 3
    chance.shuffle(told)
    seen: set[int] = set()
    for number, made, part in told:
        both = [
            slices.over(worker, keys, number, made.jid, part, cancelled=False, kept_seconds=60)
            for _ in range(chance.randint(1, 2))
        ]
        seen.add(part.number)
        assert set(await asyncio.gather(*both)) == {count - len(seen)}
        assert await redis.llen(keys.queue("default")) == (1 if len(seen) == count else 0)
    # A death of who split it: the whole job is taken again, and asks again.
    assert await slices.split(worker, keys, entry.number, job, [0], None) is Split.ALREADY
    assert await redis.llen(keys.queue("default")) == 1


async def test_who_does_not_hold_the_job_neither_splits_it_nor_ends_its_slices(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker, job = await birth(), whole()
    entry = await taken(outside, worker, job.to_json())
    with pytest.raises(NotHeld):
        await slices.split(worker, keys, Number(99), job, [1], None)
    assert await redis.exists(keys.slices("one")) == 0
    assert await slices.split(worker, keys, entry.number, job, [1], None) is Split.SPLIT
    ((number, made, part),) = await held_slices(worker, 1)
    with pytest.raises(NotHeld):
        await slices.over(worker, keys, Number(98), made.jid, part, cancelled=False, kept_seconds=60)
    await redis.hset(keys.record(worker.worker), "epoch", "another")
    with pytest.raises(StaleEpoch):
        await slices.over(worker, keys, number, made.jid, part, cancelled=False, kept_seconds=60)
    assert await redis.hget(keys.slices("one"), "left") == b"1"
    assert await redis.llen(keys.queue("default")) == 0


async def test_slice_of_a_job_that_nobody_remembers_ends_quietly(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker, job = await birth(), whole()
    entry = await taken(outside, worker, job.to_json())
    await slices.split(worker, keys, entry.number, job, [1], None)
    ((number, made, part),) = await held_slices(worker, 1)
    await redis.delete(keys.slices("one"))
    assert await slices.over(worker, keys, number, made.jid, part, cancelled=False, kept_seconds=60) == -1
    assert await redis.llen(keys.queue("default")) == 0


async def test_everything_that_is_kept_of_slices_has_an_end(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker, job = await birth(), whole()
    entry = await taken(outside, worker, job.to_json())
    await slices.split(worker, keys, entry.number, job, [1, 2], 100)
    assert await redis.ttl(keys.slices("one")) > 180 * 24 * 3600
    assert await redis.ttl(keys.progress("one")) > 0
    first, last = await held_slices(worker, 2)
    await redis.delete(keys.progress("one"))  # as after a month in which nothing ended
    for number, made, part in (first, last):
        assert part.count == 2
        await slices.over(worker, keys, number, made.jid, part, cancelled=part.number == 1, kept_seconds=60)
        assert await redis.ttl(keys.progress("one")) > 0
    assert 0 < await redis.ttl(keys.slices("one")) <= 60
    assert 0 < await redis.ttl(keys.progress("one")) <= 60
    assert await redis.llen(keys.queue("default")) == 0


async def test_cancelled_job_waits_for_those_slices_alone_that_somebody_will_run(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    job = whole()
    entry = await taken(outside, worker, job.to_json())
    places = ["runs", "rests", "waits", "retried", "scheduled", "dead", "deleted"]
    await slices.split(worker, keys, entry.number, job, places, None)
    made = cast("list[bytes]", await redis.lrange(keys.queue("default"), 0, -1))
    payloads_of = {orjson.loads(raw)[slices.SLICE]["value"]: raw for raw in made}
    await redis.delete(keys.queue("default"))
    await taken(outside, worker, payloads_of["runs"], 100)
    await redis.hset(keys.parked, "ones1", b"1700000000000 default\n" + payloads_of["rests"])
    # A slice that somebody moved, behind more than one page of others.
    await redis.sadd(keys.queues, "other")
    await redis.lpush(keys.queue("other"), *[b"{}"] * 1500, payloads_of["waits"])
    for name, value in ((keys.retry, "retried"), (keys.schedule, "scheduled"), (keys.dead, "dead")):
        await redis.zadd(name, {payloads_of[value]: 1.0})
    await carry_out_async(redis, control.ask(keys, "one", Wanted.CANCEL))
    told = await redis.hgetall(keys.slices("one"))
    assert [told[b"s%d" % number] for number in range(7)] == [b"left"] * 5 + [b"cancelled"] * 2
    assert (told[b"left"], told[b"cancelled"]) == (b"5", b"2")
    assert await redis.hexists(keys.progress("one"), "end") is False
