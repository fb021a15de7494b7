"""Another application's key where a queue should be: told by name, and it costs no other queue anything."""

from __future__ import annotations

import pytest
import redis as plain_redis
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.worker.conftest import KEYS, StartWorker
from tests.integration.worker.inspected_redis import Jobworker, described, enqueue
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_worker_names_the_queue_once_and_runs_jobs_of_the_others(
    redis: Redis, client: Client, start_worker: StartWorker
) -> None:
    await redis.set(KEYS.queue("bad"), "x")
    await redis.sadd(KEYS.queues, "bad")
    worker = start_worker("a", "-q", "bad default", "--order", "strict")
    for number in range(20):
        await client.enqueue("count_async", [number])

        async def ended(number: int = number) -> bool:
            return int(await redis.get(KEYS.stat("processed")) or 0) == number + 1

        await wait_until(ended, 20, worker.log)
    assert worker.log.count("no job of this queue can be taken") == 1
    assert "queue=bad" in worker.log
    assert "Redis refuses" not in worker.log
    assert await redis.get(KEYS.queue("bad")) == b"x"
    # Put right, it is a queue again, and the log says so.
    await redis.delete(KEYS.queue("bad"))
    await client.enqueue("count_async", [20], queue="bad")
    await wait_until(lambda: "jobs of this queue can be taken again" in worker.log, 20, worker.log)


def test_queue_is_shown_as_unreadable_and_the_others_as_ever(jobworker: Jobworker, database: plain_redis.Redis) -> None:
    enqueue(database, "mails", 2)
    database.set(KEYS.queue("bad"), "x")
    database.sadd(KEYS.queues, "bad")
    said = "unreadable: its key queue:bad holds a string and no list"
    assert said in jobworker("queues").stdout
    assert said in jobworker("top", "--once").stdout
    queues = {queue["name"]: queue for queue in described(jobworker("queues", "--json"))["queues"]}
    assert queues["bad"]["problem"] == "its key queue:bad holds a string and no list"
    assert (queues["mails"]["depth"], queues["mails"]["problem"]) == (2, None)
    assert described(jobworker("stats", "--json"))["enqueued"] == 2
    for command in (["show", "bad"], ["clear", "bad", "--yes"]):
        assert "redis-cli RENAME, DEL" in jobworker("queues", *command, code=1).stderr
    assert database.get(KEYS.queue("bad")) == b"x"


def test_key_of_another_type_is_explained_where_a_command_cannot_go_on(
    jobworker: Jobworker, database: plain_redis.Redis
) -> None:
    database.set(KEYS.queues, "x")
    said = jobworker("queues", code=1).stderr
    assert "another application uses a key of jobworker's" in said
    assert "names another" not in said
