"""Acting on scheduled jobs, retries and dead jobs: what two people, or a person and a worker, do at the same moment."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from jobworker.errors import MalformedPayload
from jobworker.protocol import job_sets
from jobworker.protocol.job_sets import JobSet, SetEntry
from jobworker.protocol.keys import Keys
from tests.integration.protocol.conftest import both

pytestmark = pytest.mark.redis


def payload(jid: str, **fields: Any) -> bytes:
    return orjson.dumps({"class": "Mail", "args": [7], "jid": jid, "queue": "mails", "retry": True, **fields})


async def put(redis: Redis, keys: Keys, job_set: JobSet, *members: bytes) -> list[SetEntry]:
    """Entries of the set, read as a person's screen would have read them."""
    await redis.zadd(job_set.key(keys), {member: 1000 + place for place, member in enumerate(members)})
    return list((await job_sets.page(redis, keys, job_set, 0, 1000)).entries)


async def queued(redis: Redis, keys: Keys, queue: str = "mails") -> list[dict[str, Any]]:
    return [orjson.loads(raw) for raw in await redis.lrange(keys.queue(queue), 0, -1)]


@pytest.mark.parametrize("job_set", JobSet)
async def test_of_two_people_who_retry_a_job_at_once_one_does(redis: Redis, keys: Keys, job_set: JobSet) -> None:
    seen = await put(redis, keys, job_set, payload("a"))
    moved = await both(job_sets.retry(redis, keys, seen), job_sets.retry(redis, keys, seen))
    assert sorted(map(int, map(str, moved))) == [0, 1]
    assert [job["jid"] for job in await queued(redis, keys)] == ["a"]
    assert await redis.zcard(job_set.key(keys)) == 0


async def test_of_retry_and_delete_at_once_one_happens(redis: Redis, keys: Keys) -> None:
    seen = await put(redis, keys, JobSet.DEAD, *(payload(str(n)) for n in range(500)))
    retried, deleted = await both(job_sets.retry(redis, keys, seen), job_sets.delete(redis, keys, seen))
    assert int(str(retried)) + int(str(deleted)) == 500
    assert len(await queued(redis, keys)) == retried


async def test_killed_job_is_not_retried_from_a_screen_that_is_old(redis: Redis, keys: Keys) -> None:
    seen = await put(redis, keys, JobSet.RETRY, payload("a"))
    assert await job_sets.kill(redis, keys, seen) == 1
    assert await job_sets.retry(redis, keys, seen) == 0
    assert await job_sets.kill(redis, keys, seen) == 0
    assert await queued(redis, keys) == []
    assert await redis.zrange(keys.dead, 0, -1) == [payload("a")]


async def test_retry_gives_the_try_back_and_keeps_what_it_does_not_know(redis: Redis, keys: Keys) -> None:
    failed = payload("a", retry_count=3, bid="b-1", created_at=1_700_000_000_000, unique_for=60)
    before = time.time()
    await job_sets.retry(redis, keys, await put(redis, keys, JobSet.RETRY, failed))
    [job] = await queued(redis, keys)
    assert job.pop("enqueued_at") >= before
    assert job == {**orjson.loads(failed), "retry_count": 2}
    assert await redis.smembers(keys.queues) == {b"mails"}
    assert await redis.llen(keys.wake("mails")) == 1


async def test_kill_leaves_the_payload_as_it_is_and_bounds_the_dead_set(redis: Redis, keys: Keys) -> None:
    await redis.zadd(keys.dead, {b"too old": 1.0})
    odd = b'{"class": "Mail","args":[12345678901234567890123],  "jid":"a","queue":"mails"}'
    assert await job_sets.kill(redis, keys, await put(redis, keys, JobSet.SCHEDULED, odd)) == 1
    assert await redis.zrange(keys.dead, 0, -1) == [odd]


async def test_unreadable_entry_has_a_name_by_which_it_can_be_deleted(redis: Redis, keys: Keys) -> None:
    await put(redis, keys, JobSet.DEAD, b"\xff no JSON", payload("a"), b"[]")
    [named] = [
        entry
        async for entry in job_sets.entries(redis, keys, JobSet.DEAD)
        if entry.found.raw == b"\xff no JSON"
    ]  # fmt: skip
    assert "not JSON" in named.found.problem
    with pytest.raises(MalformedPayload, match="not JSON"):
        await job_sets.retry(redis, keys, [named])
    found = await job_sets.find(redis, keys, named.found.id)
    assert [entry.found.raw for entry in found] == [b"\xff no JSON"]
    assert await job_sets.delete(redis, keys, found) == 1
    assert await redis.zcard(keys.dead) == 2


@pytest.mark.parametrize("jid", ["a*b", "a[b]c", "a\\b", "abc"])
async def test_job_is_found_by_its_exact_jid(redis: Redis, keys: Keys, jid: str) -> None:
    await put(redis, keys, JobSet.RETRY, payload(jid), payload("axb"), payload("abcd"))
    await put(redis, keys, JobSet.DEAD, payload("other", args=[jid]), payload(jid, retry_count=1))
    found = await job_sets.find(redis, keys, jid)
    assert [(entry.job_set, entry.found.id) for entry in found] == [(JobSet.RETRY, jid), (JobSet.DEAD, jid)]


async def test_pages_are_in_the_order_in_which_jobs_come_next_and_the_dead_latest_first(
    redis: Redis, keys: Keys
) -> None:
    members = [payload(f"{n:02}") for n in range(25)]
    for job_set in (JobSet.SCHEDULED, JobSet.DEAD):
        await put(redis, keys, job_set, *members)
    page = await job_sets.page(redis, keys, JobSet.SCHEDULED, 20, 10)
    assert ([entry.found.id for entry in page.entries], page.size) == (["20", "21", "22", "23", "24"], 25)
    page = await job_sets.page(redis, keys, JobSet.DEAD, 0, 2)
    assert [entry.found.id for entry in page.entries] == ["24", "23"]
