"""Redis away at the start, restarted under a running worker: said once, borne, nothing lost."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol import payload as payloads
from jobworker.protocol.scripts import DEREGISTER
from tests.cutting_proxy import CuttingProxy
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


async def beaten_for(redis: Redis, seconds: float) -> None:
    """Wait until the worker `a` has beaten for so long, and was taken for alive all the time."""
    first = float(await redis.hget(KEYS.record("a"), "beat") or 0)

    async def enough() -> bool:
        assert await redis.exists(KEYS.alive("a")), "taken for dead"
        return float(await redis.hget(KEYS.record("a"), "beat") or 0) - first >= seconds

    await wait_until(enough, seconds + 4)


async def test_worker_whose_event_loop_is_blocked_is_not_taken_for_dead_and_names_the_job(
    redis: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("a")
    flag = tmp_path / "gate"
    await Client(redis).enqueue("blocks_until_file", [str(flag)])
    await wait_until((tmp_path / "gate.started").exists, 15)
    await beaten_for(redis, 6)
    assert "the event loop is blocked" in worker.log
    assert "class=blocks_until_file" in worker.log
    assert "jobs_for_tests.py:" in worker.log
    flag.touch()

    async def counted() -> bool:
        return int(await redis.get(KEYS.stat("processed")) or 0) == 1

    await wait_until(counted, 5)
    assert (tmp_path / "gate.started").read_text() == "once "
    worker.signal(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_worker_beats_and_ends_its_jobs_while_redis_is_full(
    own_server: RedisServer, own_redis: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("a", url=own_server.url)
    flag = tmp_path / "gate"
    await Client(own_redis).enqueue("until_file", [str(flag)])
    await wait_until((tmp_path / "gate.started").exists, 15)
    await own_redis.config_set("maxmemory", "1")
    await beaten_for(own_redis, 2)
    flag.touch()

    async def ended() -> bool:
        return (await worker.activity(own_redis)).held == 0

    await wait_until(ended, 5)


async def test_worker_waits_for_a_redis_that_refuses_its_registration(
    own_server: RedisServer, own_redis: Redis, start_worker: StartWorker
) -> None:
    await own_redis.replicaof("127.0.0.1", "1")
    worker = start_worker("a", url=own_server.url)
    await wait_until(lambda: "refuses commands" in worker.log, 10)
    await own_redis.replicaof("NO", "ONE")
    await worker.registered(own_redis)


async def test_worker_leaves_a_primary_that_became_a_replica(
    own_server: RedisServer, own_redis: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The old primary answers as ever, and refuses each write: only a new connection finds the new one."""
    with RedisServer(tmp_path / "new") as promoted:
        async with CuttingProxy(own_server.port) as proxy, Redis.from_url(promoted.url, protocol=3) as redis:
            worker = start_worker("a", url=proxy.url)
            await worker.registered(own_redis)
            proxy.upstream = promoted.port
            await own_redis.replicaof("127.0.0.1", str(promoted.port))
            await worker.registered(redis)
            await Client(redis).enqueue("count_async", [1])

            async def counted() -> bool:
                return int(await redis.get(KEYS.stat("processed")) or 0) == 1

            await wait_until(counted, 10)
            worker.signal(signal.SIGTERM)
            assert await worker.exit_code() == 0


async def test_worker_without_jobs_that_cannot_say_goodbye_claims_no_cut_job(
    own_server: RedisServer, own_redis: Redis, start_worker: StartWorker
) -> None:
    # It stays for that second if the end of Redis met a take: what that take may have brought is looked for.
    worker = start_worker("a", "--shutdown-seconds", "1", url=own_server.url)
    await worker.registered(own_redis)
    own_server.kill()
    worker.signal(signal.SIGTERM)
    assert await worker.exit_code() == 0
    assert "did not hear the goodbye" in worker.log


async def test_goodbye_whose_answer_is_lost_is_no_cut_job_either(
    own_server: RedisServer, own_redis: Redis, start_worker: StartWorker
) -> None:
    async with CuttingProxy(own_server.port) as proxy:
        await own_redis.script_load(DEREGISTER.source)
        worker = start_worker("a", url=proxy.url)
        await worker.registered(own_redis)
        proxy.lose = DEREGISTER.digest.encode()
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code() == 0
        assert proxy.lost == 1
    assert "took this worker for dead" not in worker.log


async def test_working_set_that_nobody_can_read_does_not_end_the_workers_that_look_for_the_dead(
    redis: Redis, traces: Traces, start_worker: StartWorker
) -> None:
    await redis.sadd(KEYS.workers, "strange", "zombie")
    await redis.hset(KEYS.working("strange"), "1", "no entry of ours")
    body = payloads.new("count_async", [1], queue="default", now=0.0).to_json()
    await redis.hset(KEYS.working("zombie"), "1", b"0 default\n" + body)
    worker = start_worker("a")
    await wait_until(lambda: traces("async"), 20)
    assert "cannot be rescued" in worker.log
    assert worker.process.poll() is None


async def test_worker_that_was_stopped_for_a_while_blames_no_job_for_it(
    redis: Redis, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await worker.registered(redis)
    await wait_until(lambda: "ready: " in worker.log, 15)
    worker.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    await wait_until(lambda: time.monotonic() > stopped + 6, 20)
    worker.signal(signal.SIGCONT)
    await wait_until(lambda: "this whole process stood still" in worker.log, 15, worker.log)
    assert "the event loop is blocked" not in worker.log
