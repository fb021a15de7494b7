"""A worker process for clients whose Redis is none of the session's."""

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
from redis.asyncio import Redis

from tests.redis_server import RedisServer
from tests.waiting import wait_until


@dataclass
class Worker:
    """One `jobworker run`, and what its jobs left in ``effects``."""

    process: subprocess.Popen[bytes]
    log_file: Path
    effects: Redis

    async def marks(self) -> dict[str, int]:
        raw = cast("dict[bytes, bytes]", await self.effects.hgetall("marks"))
        return {name.decode(): int(times) for name, times in raw.items()}

    async def until_begun(self) -> None:
        async def some_begun() -> int:
            assert self.process.poll() is None, self.log_file.read_text()
            return len(cast("set[bytes]", await self.effects.smembers("begun")))

        await wait_until(some_begun, 20, "the first job")

    async def until_marked(self, names: set[str], seconds: float = 40) -> None:
        async def all_marked() -> bool:
            assert self.process.poll() is None, self.log_file.read_text()
            return names <= (await self.marks()).keys()

        await wait_until(all_marked, seconds, f"marks of {len(names)} jobs; {self.log_file.read_text()}")

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: self.process.poll() is not None, 20, "the worker's end")
        code: int = self.process.returncode
        return code


StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> Iterator[StartWorker]:
    """Starts a worker: ``start_worker(url, "-c", "4")``. Its effects go to the session's Redis, which is empty."""
    started: list[subprocess.Popen[bytes]] = []

    def start(url: str, *flags: str) -> Worker:
        environment = {
            **os.environ,
            "JOBWORKER_REDIS_URL": url,
            "EFFECTS_URL": redis_server.url,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
        }
        log_file = tmp_path / f"worker-{len(started)}.log"
        with log_file.open("wb") as log:
            command = [sys.executable, "-m", "jobworker.cli", "run", "jobs_of_clients:app", *flags]
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        return Worker(started[-1], log_file, redis)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)
