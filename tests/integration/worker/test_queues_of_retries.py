"""A failed job goes on in the queue that it was fetched from, whatever its payload says, or in its retry queue."""

from __future__ import annotations

from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App
from jobworker.iteration.enumerators import list_items
from jobworker.iteration.parallel import ParallelJob
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


def failing() -> App:
    app = App("redis://127.0.0.1:1")

    @app.job
    async def fail() -> None:
        raise ValueError("no")

    return app


async def kept(redis: Redis, name: str) -> list[dict[str, Any]]:
    return [orjson.loads(raw) for raw in cast("list[bytes]", await redis.zrange(name, 0, -1))]


async def after_failing(redis: Redis, name: str, job_class: str = "fail", **fields: Any) -> dict[str, Any]:
    """The job as the set ``name`` has it, after a worker of the queue `mails` alone has failed with it."""
    payload = {"class": job_class, "args": [], "jid": "a1", **fields}
    await redis.sadd(KEYS.queues, "mails")
    await redis.lpush(KEYS.queue("mails"), orjson.dumps(payload))
    async with rigged(redis, failing(), queues="mails"):
        (job,) = await wait_until(lambda: kept(redis, name), 15)
    found: dict[str, Any] = job
    return found


@pytest.mark.parametrize("fields", [{}, {"queue": "elsewhere"}], ids=["without a queue", "of another queue"])
async def test_a_retry_goes_to_the_queue_that_the_job_was_fetched_from(redis: Redis, fields: dict[str, Any]) -> None:
    assert (await after_failing(redis, KEYS.retry, **fields))["queue"] == "mails"


async def test_a_retry_goes_to_the_retry_queue_where_there_is_one(redis: Redis) -> None:
    assert (await after_failing(redis, KEYS.retry, retry_queue="slow"))["queue"] == "slow"


@pytest.mark.parametrize(
    ("fields", "queue"), [({}, "mails"), ({"retry_queue": "slow"}, "slow")], ids=["fetched", "retry queue"]
)
async def test_a_dead_job_that_is_retried_by_hand_goes_there_too(
    redis: Redis, fields: dict[str, Any], queue: str
) -> None:
    assert (await after_failing(redis, KEYS.dead, retry=0, **fields))["queue"] == queue


async def test_a_job_that_the_worker_does_not_know_is_tried_again_where_it_was(redis: Redis) -> None:
    assert (await after_failing(redis, KEYS.retry, "nobody"))["queue"] == "mails"


async def test_slices_lie_in_the_queue_that_the_whole_job_was_fetched_from(redis: Redis) -> None:
    app = App("redis://127.0.0.1:1")
    walked: list[int] = []

    @app.job
    class Walk(ParallelJob):
        def split(self) -> list[int]:
            return [1, 2]

        def build_enumerator(self, *, cursor: Any) -> Any:
            return list_items([cast("int", self.slice)], cursor)

        def each_iteration(self, item: int) -> None:
            walked.append(item)

    await redis.sadd(KEYS.queues, "mails")
    await redis.lpush(KEYS.queue("mails"), b'{"class":"Walk","args":[],"jid":"a1"}')
    async with rigged(redis, app, queues="mails") as rig:

        async def joined() -> bool:
            return await redis.hget(KEYS.progress("a1"), "end") == b"done"

        rig.state.wake.set()
        await wait_until(joined, 15)
    assert sorted(walked) == [1, 2]
