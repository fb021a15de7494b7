"""A Redis with two sides: our worker processes and Sidekiq's, both real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.records import WorkerId
from tests.integration.sidekiq.ruby_side import Console, SidekiqProcess
from tests.integration.worker.conftest import WorkerProcess
from tests.redis_server import RedisServer
from tests.waiting import wait_until

NAMESPACE = "{shop}:"  # redis-namespace's colon is part of our prefix
PROCESSES = """Sidekiq::ProcessSet.new.map { |p|
  %w[hostname pid tag concurrency queues labels identity busy quiet rss beat started_at].to_h { |f| [f, p[f]] }
    .merge("stopping" => p.stopping?) }"""

StartWorker = Callable[..., WorkerProcess]
StartSidekiq = Callable[..., SidekiqProcess]


async def until_shown(ruby: Console, worker: WorkerProcess) -> dict[str, Any]:
    """The worker as Sidekiq sees it, once it does."""

    def shown() -> Any:
        assert worker.process.poll() is None, worker.log
        return [process for process in ruby(PROCESSES) if process["pid"] == worker.process.pid]

    (process,) = await wait_until(shown, 40, "the worker in Sidekiq's ProcessSet")
    return cast("dict[str, Any]", process)


@pytest.fixture
def ruby(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> Iterator[Console]:
    with Console(redis_server.url, tmp_path / "console.log") as console:
        yield console


@pytest.fixture
def ruby_in_namespace(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> Iterator[Console]:
    with Console(redis_server.url, tmp_path / "console.log", NAMESPACE) as console:
        yield console


@pytest.fixture
def start_sidekiq(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> Iterator[StartSidekiq]:
    started: list[SidekiqProcess] = []

    def start(*queues: str, key_prefix: str = "") -> SidekiqProcess:
        log = tmp_path / f"sidekiq-{len(started)}.log"
        started.append(SidekiqProcess(redis_server.url, log, *queues, key_prefix=key_prefix))
        return started[-1]

    yield start
    for process in started:
        process.__exit__(None, None, None)


@pytest.fixture
def start_worker(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> Iterator[StartWorker]:
    """``start_worker("a", "-c", "4")``: a worker with the jobs of both sides."""
    started: list[WorkerProcess] = []

    def start(identity: str, *flags: str) -> WorkerProcess:
        environment = {
            **os.environ,
            "JOBWORKER_REDIS_URL": redis_server.url,
            "JOBWORKER_WORKER": identity,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
        }
        log_file = tmp_path / f"{identity}-{len(started)}.log"
        command = [sys.executable, "-m", "jobworker.cli", "run", "jobs_of_both_sides:app", *flags]
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        started.append(WorkerProcess(WorkerId(identity), process, log_file))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait(10)


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis)


class Traces:
    """What jobs of either side left: ``await traces("counted:ruby")``."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def __call__(self, name: str) -> dict[str, int]:
        raw = cast("dict[bytes, bytes]", await self._redis.hgetall(f"test:{name}"))
        return {key.decode(): int(value) for key, value in raw.items()}

    async def open_gate(self, name: str) -> None:
        await self._redis.set(f"test:gate:{name}", "1")

    async def until(self, name: str, *keys: str, seconds: float = 40) -> None:
        async def there() -> bool:
            return set(keys) <= (await self(name)).keys()

        await wait_until(there, seconds, f"{keys} in {name}")


@pytest.fixture
def traces(redis: Redis) -> Traces:
    return Traces(redis)
