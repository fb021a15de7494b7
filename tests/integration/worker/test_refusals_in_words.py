"""A Redis that is there and refuses: what to do is said, by the command line and by the worker, and said once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as plain_redis

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.inspected_redis import Jobworker
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

_REFUSALS = 2  # an idle worker is refused each four seconds


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis with the password sesame."""
    with RedisServer(tmp_path / "locked") as server, plain_redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "sesame")
        yield server


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", "wants a password: write it into the URL, redis://:PASSWORD@HOST:6379/0"),
        (":wrong@", "refuses this user and password: "),
        ("somebody:sesame@", "refuses this user and password: "),
    ],
)
async def test_password_that_is_missing_or_wrong_is_told_as_such(
    jobworker: Jobworker, locked: RedisServer, start_worker: StartWorker, user: str, message: str
) -> None:
    url = locked.url.replace("redis://", f"redis://{user}")
    said = (await asyncio.to_thread(jobworker, "queues", "--redis", url, code=1)).stderr
    assert message in said
    assert "does not answer" not in said
    assert "names another" not in said
    worker = start_worker("a", "--connect-seconds", "1", url=url)
    assert await worker.exit_code() != 0
    assert message in worker.log
    for leaked in ("sesame", ":wrong"):
        assert leaked not in said + worker.log


async def test_full_redis_is_said_once_with_what_helps(
    tmp_path: Path, jobworker: Jobworker, start_worker: StartWorker
) -> None:
    with RedisServer(tmp_path / "full") as server, plain_redis.Redis.from_url(server.url) as database:
        worker = start_worker("a", url=server.url)
        await wait_until(lambda: "ready: " in worker.log, 20, worker.log)
        database.config_set("maxmemory", "1")
        enqueue = ("enqueue", "count_async", "[1]", "--redis", server.url)
        said = (await asyncio.to_thread(jobworker, *enqueue, code=1)).stderr
        assert "it is full: raise its maxmemory" in said
        assert "names another" not in said

        def refused() -> int:
            return int(database.info("errorstats").get("errorstat_OOM", {}).get("count", 0))

        await wait_until(lambda: "Redis refuses commands" in worker.log, 60, worker.log)
        before = refused()
        await wait_until(lambda: refused() >= before + _REFUSALS, 60, "refusals")
        assert worker.log.count("Redis refuses commands") == 1, worker.log  # beats go well all the time
        assert "it is full: raise its maxmemory" in worker.log
        database.config_set("maxmemory", "0")
        await wait_until(lambda: "Redis is back" in worker.log.splitlines()[-1], 30, worker.log)
