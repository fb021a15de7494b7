"""Real worker processes, started as a user would and ended with the test, and the command line on their Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import redis as plain_redis
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from jobworker import Client
from jobworker.cli.main import cli
from jobworker.protocol.keys import Keys
from jobworker.protocol.reading import activities
from jobworker.protocol.records import Activity, WorkerId
from jobworker.protocol.scripts import FleetScripts
from tests.integration.worker.inspected_redis import Jobworker
from tests.redis_server import RedisServer
from tests.waiting import wait_until

KEYS = Keys()


@dataclass
class WorkerProcess:
    """One `jobworker run`."""

    identity: WorkerId
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self, seconds: float = 15) -> int:
        await wait_until(lambda: self.process.poll() is not None, seconds, f"the end of {self.identity}: {self.log}")
        code: int = self.process.returncode
        return code

    async def activity(self, redis: Redis) -> Activity:
        return (await activities(redis, KEYS, [self.identity]))[0]

    async def registered(self, redis: Redis) -> None:
        async def has_beat() -> bool:
            assert self.process.poll() is None, self.log
            return (await self.activity(redis)).alive

        await wait_until(has_beat, 15, "registration")


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def start_worker(tmp_path: Path, redis_server: RedisServer) -> Iterator[StartWorker]:
    """Starts workers: ``start_worker("a", "-c", "4")``; ``url`` for a Redis of the test's own."""
    started: list[WorkerProcess] = []

    def start(identity: str, *flags: str, url: str | None = None) -> WorkerProcess:
        environment = {
            **os.environ,
            "JOBWORKER_REDIS_URL": url or redis_server.url,
            "JOBWORKER_WORKER": identity,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
        }
        log_file = tmp_path / f"{identity}-{len(started)}.log"
        command = [sys.executable, "-m", "jobworker.cli", "run", "jobs_for_tests:app", *flags]
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        worker = WorkerProcess(WorkerId(identity), process, log_file)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait(10)


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis)


@pytest.fixture
def fleet(redis: Redis) -> FleetScripts:
    return FleetScripts(redis, KEYS)


@dataclass
class Traces:
    """What the jobs of the tests left in Redis."""

    redis: Redis

    async def __call__(self, name: str) -> dict[str, int]:
        raw = cast("dict[bytes, bytes]", await self.redis.hgetall(f"test:{name}"))
        return {key.decode(): int(value) for key, value in raw.items()}

    async def open_gate(self, name: str) -> None:
        await self.redis.set(f"test:gate:{name}", "1")

    async def until_started(self, *names: str, times: int = 1, seconds: float = 15) -> None:
        async def all_started() -> bool:
            started = await self("started")
            return all(started.get(name, 0) >= times for name in names)

        await wait_until(all_started, seconds, f"start of {names}")


@pytest.fixture
def traces(redis: Redis) -> Traces:
    return Traces(redis)


@pytest.fixture
def database(redis_server: RedisServer) -> Iterator[plain_redis.Redis]:
    """A client of an empty database, for plain tests."""
    with plain_redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def jobworker(redis_server: RedisServer, database: plain_redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Jobworker:
    """The command line in this process, on that database: ``jobworker("queues", "--json", code=0)``."""
    monkeypatch.setenv("JOBWORKER_REDIS_URL", redis_server.url)

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
        return done

    return run
