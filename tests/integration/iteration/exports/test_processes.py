"""Exports of real workers that are killed at each call to the storage, or stopped and come back too late."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts
from tests.integration.iteration.exports import jobs_under_fire
from tests.integration.iteration.exports.jobs_under_fire import checksum
from tests.redis_server import RedisServer
from tests.s3_server import S3Server
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]

_ROOT = Path(__file__).parents[4]
ROWS, SIZE = 8, 2 << 20  # two whole parts of three rows, and one of two

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path, redis_server: RedisServer, s3: S3Server) -> Iterator[Start]:
    """Start a worker: ``start("a", EXPORT_KILL_AT="3 after")``."""
    started: list[subprocess.Popen[bytes]] = []

    def worker(identity: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "jobworker.cli", "run", f"{jobs_under_fire.__name__}:app"]
        settings = {"JOBWORKER_REDIS_URL": redis_server.url, "JOBWORKER_WORKER": identity, "PYTHONPATH": str(_ROOT)}
        with (tmp_path / f"{identity}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **s3.environment, **settings, **environment}, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield worker
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(20)


async def until_there(redis: Redis, key: str, seconds: float, what: str) -> None:
    async def there() -> bool:
        return bool(await redis.exists(key))

    await wait_until(there, seconds, what)


async def is_complete(redis: Redis) -> bool:
    return bool(await redis.exists("test:complete"))


async def test_export_is_whole_after_a_kill_at_each_call_to_the_storage(
    redis: Redis, s3: S3Server, start: Start
) -> None:
    jid = await Client(redis).enqueue("FileOfRows", ["file", ROWS, SIZE], queue="exports", jw_poison_after=0)
    lives = 0
    for call in range(1, 30):
        when = "before" if call % 2 else "after"
        process = start("a", EXPORT_KILL_AT=f"{(call + 1) // 2} {when}")

        async def over(process: subprocess.Popen[bytes] = process) -> bool:
            return process.poll() is not None or await is_complete(redis)

        await wait_until(over, 30, f"the end of life {call}")
        if await is_complete(redis):
            break
        assert process.wait(10) == -signal.SIGKILL
        lives += 1
    assert lives > 5
    assert hashlib.sha256(s3.read("file")).hexdigest() == checksum(ROWS, SIZE)

    async def nothing_left() -> bool:
        return list(s3.objects()) == ["file"]

    await wait_until(nothing_left, 10, f"what {jid} put aside is removed")


async def test_worker_that_comes_back_too_late_does_not_mix_its_part_into_the_file(
    redis: Redis, s3: S3Server, start: Start
) -> None:
    late = start("late", EXPORT_STOP_AT="2", EXPORT_MARK="late")
    await Client(redis).enqueue("FileOfRows", ["file", ROWS, SIZE], queue="exports", jw_poison_after=0)
    await until_there(redis, "test:stopped", 30, "the first worker stops")
    rescued = await rescue(FleetScripts(redis, Keys()), WorkerId("late"), "", Death(vouched=True))
    assert rescued.moved == 1
    start("other", EXPORT_GATE="test:gate")
    await until_there(redis, "test:part:2", 40, "the second worker stores part 2")
    late.send_signal(signal.SIGCONT)
    await until_there(redis, "test:part:2late", 20, "the first worker stores its part 2 over it")
    await redis.set("test:gate", 1)
    await until_there(redis, "test:complete", 30, "the end of the export")
    found = s3.read("file")
    assert len(found) == ROWS * SIZE
    assert found[: 3 * SIZE] == (b"late" * (SIZE // 4)) * 3, "part 1 was the first worker's, while it held the job"
    assert b"late" not in found[3 * SIZE :]
    assert late.poll() is None


async def test_worker_removes_what_a_job_left_that_failed_for_good(redis: Redis, s3: S3Server, start: Start) -> None:
    start("a", EXPORT_FAIL_AT="5")
    await Client(redis).enqueue("FileOfRows", ["file", ROWS, SIZE], queue="exports", retry=0)
    await until_there(redis, "dead", 30, "the death of the job")

    async def nothing_left() -> bool:
        return (s3.objects(), s3.uploads()) == ({}, [])

    await wait_until(nothing_left, 30, "the storage is empty")
