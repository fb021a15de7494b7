"""Jobs of producers that wake nobody are noticed at once; where Redis tells nothing they are noticed all the same."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import App
from jobworker.protocol import payload as payloads
from jobworker.protocol.limits import QueueLimit, set_limit
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class Ran(list[int]):
    """Numbers of the jobs that ran."""

    def __init__(self) -> None:
        self.app = App()

        @self.app.job
        async def note(number: int) -> None:
            self.append(number)

    def up_to(self, number: int) -> Callable[[], bool]:
        """Have all of them run once, in their order?"""
        return lambda: self == list(range(number + 1))


async def push_as_ruby_does(redis: Redis, number: int) -> None:
    job = payloads.new("note", [number], queue="default", now=0)
    await redis.sadd(KEYS.queues, "default")
    await redis.lpush(KEYS.queue("default"), job.to_json())


async def calls(redis: Redis, command: str) -> int:
    stats: dict[str, Any] = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


@pytest.fixture
async def forbidden(redis: Redis, redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A connection of somebody who may do everything but track keys."""
    await cast("Any", redis).execute_command(
        "ACL", "SETUSER", "nosy", "on", ">x", "~*", "&*", "+@all", "-client|tracking"
    )
    async with Redis.from_url(redis_server.url.replace("redis://", "redis://nosy:x@"), protocol=3) as connection:
        yield connection
    await cast("Any", redis).execute_command("ACL", "DELUSER", "nosy")


async def test_foreign_jobs_are_noticed_one_after_the_other(redis: Redis) -> None:
    ran = Ran()
    async with rigged(redis, ran.app) as rig:
        for number in range(30):
            await push_as_ruby_does(redis, number)
            await wait_until(ran.up_to(number), 10)
            await wait_until(rig.holds_nothing, 10)


async def test_a_worker_that_is_told_does_not_look(redis: Redis) -> None:
    ran = Ran()
    async with rigged(redis, ran.app) as rig:
        await wait_until(lambda: rig.arrivals_armed, 10)
        before = await calls(redis, "rpop")
        # As long as it takes to hear of a key that is no queue, forty times.
        for number in range(40):
            await redis.set("no queue", number)
            await redis.get("no queue")
        assert await calls(redis, "rpop") == before
        await push_as_ruby_does(redis, 1)
        await wait_until(lambda: ran == [1], 10)


async def test_jobs_are_noticed_though_the_connection_that_tells_was_cut(redis: Redis) -> None:
    ran = Ran()
    async with rigged(redis, ran.app) as rig:
        await wait_until(lambda: rig.arrivals_armed, 10)
        me = await redis.client_id()
        for client in await redis.client_list():
            if "t" in client["flags"] and int(client["id"]) != me:
                await redis.client_kill_filter(_id=client["id"])
        await push_as_ruby_does(redis, 1)
        await wait_until(lambda: ran == [1], 10)
        await wait_until(lambda: rig.arrivals_armed, 10)


async def test_jobs_are_noticed_where_redis_may_tell_nothing(
    redis: Redis, forbidden: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ran = Ran()
    with caplog.at_level(logging.WARNING, "jobworker.redis"):
        async with rigged(redis, ran.app, through=forbidden):
            for number in range(3):
                await push_as_ruby_does(redis, number)
                await wait_until(ran.up_to(number), 10)
    assert len([record for record in caplog.records if "four times a second" in record.message]) == 1


async def test_a_queue_that_gives_nothing_is_looked_at_again(redis: Redis) -> None:
    ran = Ran()
    await set_limit(redis, KEYS, "default", QueueLimit(cluster=0))
    await push_as_ruby_does(redis, 1)
    async with rigged(redis, ran.app) as rig:
        await wait_until(lambda: rig.arrivals_armed, 10)
        assert ran == []
        await set_limit(redis, KEYS, "default", QueueLimit())
        await wait_until(lambda: ran == [1], 10)


async def test_queues_that_match_a_pattern_are_taken_as_soon_as_they_are_made(redis: Redis) -> None:
    ran = Ran()
    job = payloads.new("note", [1], queue="mail_a", now=0).to_json()
    async with rigged(redis, ran.app, queues="mail_* !mail_bulk") as rig:
        await wait_until(lambda: rig.fetch._queues is not None and rig.fetch._queues.armed, 10)
        for name in ("mail_bulk", "reports", "mail_a"):
            await redis.sadd(KEYS.queues, name)
            await redis.lpush(KEYS.queue(name), job)
        await wait_until(lambda: ran == [1], 5, "sooner than the next look in any case")
        await wait_until(rig.holds_nothing, 10)
        await redis.lpush(KEYS.queue("mail_a"), job)
        await wait_until(lambda: ran == [1, 1], 10)
        left = [await redis.llen(KEYS.queue(name)) for name in ("mail_bulk", "reports", "mail_a")]
    assert left == [1, 1, 0]
