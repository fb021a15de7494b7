"""Redis away at the start, restarted under a running worker: said once, borne, nothing lost."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.worker.conftest import KEYS, StartWorker, Traces
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", append_only=True) as server:
        yield server


@pytest.fixture
async def own_redis(own_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_server.url, protocol=3) as redis:
        yield redis


async def test_worker_without_redis_names_the_address_without_its_password_and_ends_with_1(
    start_worker: StartWorker,
) -> None:
    worker = start_worker("a", "--connect-seconds", "0.5", url="redis://:secret@127.0.0.1:1/0")
    assert await worker.exit_code() == 1
    assert "redis://:***@127.0.0.1:1/0" in worker.log
    assert "secret" not in worker.log
    assert "Traceback" not in worker.log


async def test_worker_started_before_redis_begins_when_redis_is_there(
    own_server: RedisServer, own_redis: Redis, start_worker: StartWorker
) -> None:
    own_server.stop()
    worker = start_worker("a", url=own_server.url)
    await wait_until(lambda: "does not answer" in worker.log, 10)
    own_server.start()
    await worker.registered(own_redis)


async def test_job_that_ends_while_redis_is_away_is_acknowledged_when_it_is_back(
    own_server: RedisServer, own_redis: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("a", url=own_server.url)
    flag = tmp_path / "gate"
    await Client(own_redis).enqueue("until_file", [str(flag)])
    await wait_until((tmp_path / "gate.started").exists, 15)
    own_server.stop()
    await wait_until(lambda: "Redis does not answer" in worker.log, 5)
    flag.touch()
    await wait_until((tmp_path / "gate.done").exists, 5)
    own_server.start()
    await own_redis.connection_pool.disconnect()

    async def acknowledged() -> bool:
        return int(await own_redis.get(KEYS.stat("processed")) or 0) == 1

    await wait_until(acknowledged, 10)
    assert await own_redis.hlen(KEYS.working("a")) == 0
    assert worker.log.count("Redis does not answer") == 1
    assert (tmp_path / "gate.started").read_text() == "once ", "the job ran again, though its end was known"
    assert "Redis is back" in worker.log
    await Client(own_redis).enqueue("count_async", [1])
    await wait_until(lambda: Traces(own_redis)("async"), 5)
    worker.signal(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_job_runs_on_when_redis_forgets_everything(tmp_path: Path, start_worker: StartWorker) -> None:
    with RedisServer(tmp_path / "forgetful") as server:
        async with Redis.from_url(server.url, protocol=3) as redis:
            worker = start_worker("a", url=server.url)
            flag = tmp_path / "gate"
            await Client(redis).enqueue("until_file", [str(flag)])
            await wait_until((tmp_path / "gate.started").exists, 15)
            server.restart()
            await redis.connection_pool.disconnect()
            await wait_until(lambda: "registers anew" in worker.log, 15)
            await worker.registered(redis)
            assert (await worker.activity(redis)).held == 1
            flag.touch()

            async def acknowledged() -> bool:
                return int(await redis.get(KEYS.stat("processed")) or 0) == 1

            await wait_until(acknowledged, 10)
            assert (await worker.activity(redis)).held == 0
