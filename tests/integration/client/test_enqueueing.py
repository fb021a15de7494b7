"""What clients put into a real Redis, and what becomes of their connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, ArgumentsNotJSON, Client, SyncClient
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import parse
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

KEYS = Keys()


async def queued(redis: Redis, queue: str = "default") -> list[dict[str, Any]]:
    """The jobs on a queue, the oldest first."""
    raw: Any = redis.lrange(KEYS.queue(queue), 0, -1)
    return [orjson.loads(job) for job in reversed(await raw)]


async def test_payload_is_sidekiqs(redis: Redis, redis_server: RedisServer) -> None:
    async with Client(redis_server.url) as client:
        jid = await client.enqueue("Mail", [7, "ü", {"a": [None, 1.5]}], queue="mails", retry=3, tags=["x"], dead=False)
    (job,) = await queued(redis, "mails")
    times = job.pop("created_at"), job.pop("enqueued_at")
    assert job == {
        "class": "Mail", "args": [7, "ü", {"a": [None, 1.5]}], "jid": jid, "queue": "mails", "retry": 3,
        "tags": ["x"], "dead": False,
    }  # fmt: skip
    assert len(jid) == 24
    assert all(isinstance(time, float) for time in times)
    members: Any = redis.smembers(KEYS.queues)
    assert await members == {b"mails"}


async def test_true_and_one_are_two_rules_for_retries(redis: Redis, redis_server: RedisServer) -> None:
    async with Client(redis_server.url) as client:
        for retry in (True, 1, False, 0):
            await client.enqueue("Mail", [], retry=retry)
    assert [job["retry"] for job in await queued(redis)] == [True, 1, False, 0]
    assert [type(job["retry"]) for job in await queued(redis)] == [bool, int, bool, int]


async def test_many_lie_in_their_order_with_the_jids_that_were_returned(
    redis: Redis, redis_server: RedisServer
) -> None:
    async with Client(redis_server.url) as client:
        jids = await client.enqueue_many("Mail", ([number] for number in range(2500)))
    with SyncClient(redis_server.url) as client:
        jids += client.enqueue_many("Mail", ([number] for number in range(2500, 4000)))
    jobs = await queued(redis)
    assert [job["args"] for job in jobs] == [[number] for number in range(4000)]
    assert [job["jid"] for job in jobs] == jids
    assert len(set(jids)) == 4000


async def test_bad_argument_among_many_leaves_the_chunks_before_it_and_the_connection_whole(
    redis: Redis, redis_server: RedisServer
) -> None:
    def bad(at: int) -> Iterator[list[Any]]:
        yield from ([number] for number in range(at))
        yield [object()]

    async with Client(redis_server.url) as client:
        with pytest.raises(ArgumentsNotJSON, match="argument number 1 is a object"):
            await client.enqueue_many("Mail", bad(2500))
        await client.enqueue("Mail", ["after"])
    with SyncClient(redis_server.url) as sync_client:
        with pytest.raises(ArgumentsNotJSON):
            sync_client.enqueue_many("Mail", bad(1500))
        sync_client.enqueue("Mail", ["after"])
    args = [job["args"][0] for job in await queued(redis)]
    assert args == [*range(2000), "after", *range(1000), "after"]


async def test_redis_that_forgot_the_script_is_told_it_again(redis: Redis, redis_server: RedisServer) -> None:
    async with Client(redis_server.url) as client:
        with SyncClient(redis_server.url) as sync_client:
            await redis.script_flush()
            await client.enqueue("Mail", [1])
            await redis.script_flush()
            await client.enqueue_many("Mail", [[2], [3]])
            await redis.script_flush()
            sync_client.enqueue("Mail", [4])
            await redis.script_flush()
            sync_client.enqueue_many("Mail", [[5], [6]])
    assert [job["args"] for job in await queued(redis)] == [[number] for number in range(1, 7)]


async def test_answer_to_a_cancelled_push_is_nobody_elses(redis: Redis, redis_server: RedisServer) -> None:
    async with Client(redis_server.url) as client:
        for number in range(50):
            pushing = asyncio.create_task(client.enqueue("Mail", [number]))
            for _ in range(number % 10):
                await asyncio.sleep(0)  # each time it gets a step further
            pushing.cancel()
            with suppress(asyncio.CancelledError):
                await pushing
            # Would it read the answer of the push before, this one would be answered before it is carried out.
            jid = await client.enqueue("Check", [number])
            assert jid in {job["jid"] for job in await queued(redis)}


async def test_redis_behind_a_unix_socket(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "own")
    socket = tmp_path / "redis.sock"
    server.flags = ("--unixsocket", str(socket))
    with server, SyncClient(f"unix://{socket}?db=0") as sync_client:
        sync_client.enqueue("Mail", [1])
        async with Client(f"unix://{socket}") as client, Redis(port=server.port) as redis:
            await client.enqueue("Mail", [2])
            assert [job["args"] for job in await queued(redis)] == [[1], [2]]


async def test_idle_client_does_not_notice_that_redis_was_restarted(redis_server: RedisServer, redis: Redis) -> None:
    async with Client(redis_server.url) as client:
        with SyncClient(redis_server.url) as sync_client:
            await client.enqueue("Mail", [1])
            sync_client.enqueue("Mail", [2])
            await redis.client_kill_filter(_type="normal", skipme=True)
            await client.enqueue("Mail", [3])
            sync_client.enqueue("Mail", [4])
    assert len(await queued(redis)) == 4


async def test_jobs_of_an_app_carry_their_options_and_arguments_by_name(
    redis: Redis, redis_server: RedisServer
) -> None:
    app = App(redis_server.url)

    @app.job(queue="mails", retry=False)
    def mail(to: str, copies: int = 1, subject: str = "hi") -> None: ...

    await mail.enqueue("a", subject="b")
    await mail.enqueue_many([("c",)])
    await mail.enqueue_many([("d", 2)])
    mail.enqueue_many_sync([("e", 2, "f")])
    with pytest.raises(TypeError, match="mail"):
        await mail.enqueue_many([("a", 1, "b", "too many")])  # type: ignore[list-item]  # the type checker knows, too
    await app.close()
    jobs = await queued(redis, "mails")
    assert [job["args"] for job in jobs] == [["a", 1, "b"], ["c"], ["d", 2], ["e", 2, "f"]]
    assert {job["retry"] for job in jobs} == {False}
    assert {parse(orjson.dumps(job)).job_class for job in jobs} == {"mail"}


async def test_field_that_the_client_sets_itself_is_refused(redis_server: RedisServer) -> None:
    async with Client(redis_server.url) as client:
        with pytest.raises(TypeError, match="jid of a payload is set by the client"):
            await client.enqueue("Mail", [], jid="mine")
