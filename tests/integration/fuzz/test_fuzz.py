"""Ten thousand hostile payloads, on a queue and in the schedule and retry sets, against a worker as users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from tests.integration.fuzz.payloads import mark, payloads
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]

KEYS = Keys()
SEED = 20261121
LONGEST_LINE = 15_000
_MARK = re.compile(rb"fz-\d{6}-")
_DROPPED = re.compile(rb'"(retry|dead)":false')


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    log_file: Path
    notes_file: Path

    def lives(self) -> bool:
        assert self.process.poll() is None, self.log_file.read_text(errors="replace")[-5000:]
        return True

    def end(self) -> bytes:
        """Stop it; its log."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        log = self.log_file.read_bytes()
        assert code == 0, log[-5000:]
        return log


@pytest.fixture
def worker(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> Iterator[Worker]:
    log_file, notes_file = tmp_path / "worker.log", tmp_path / "notes"
    environment = {
        **os.environ,
        "FUZZ_NOTES": str(notes_file),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    command = [
        sys.executable, "-m", "jobworker.cli", "run", "jobs_for_fuzz:app", "-q", "fuzz", "-c", "20",
        "--worker", "fuzzed", "--redis", redis_server.url,
    ]  # fmt: skip
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield Worker(process, log_file, notes_file)
    finally:
        process.kill()
        process.wait(10)


@dataclass
class Found:
    """Where all is, once the worker has ended."""

    everything: set[bytes]
    marks: set[bytes]
    reasons: int

    @classmethod
    async def look(cls, redis: Redis, worker: Worker) -> Found:
        dead = cast("list[bytes]", await redis.zrange(KEYS.dead, 0, -1))
        places = [*dead, worker.notes_file.read_bytes()]
        for key in (KEYS.retry, KEYS.schedule):
            places += cast("list[bytes]", await redis.zrange(key, 0, -1))
        async for key in redis.scan_iter(match="queue:*"):
            places += await cast("Any", redis.lrange(key, 0, -1))
        marks = {mark for place in places for mark in _MARK.findall(place)}
        return cls(set(places), marks, sum(b'"error_message"' in member for member in dead))

    def lost(self, pushed: Sequence[bytes]) -> list[bytes]:
        """Payloads that are nowhere, and did not ask for that."""
        return [
            raw[:300]
            for number, raw in enumerate(pushed)
            if mark(number) not in self.marks and raw not in self.everything and not _DROPPED.search(raw)
        ]


def check_log(log: bytes) -> None:
    longest = max(log.splitlines(), key=len)
    assert len(longest) < LONGEST_LINE, f"a line of {len(longest)} bytes: {longest[:300]!r}"
    assert b"Task exception was never retrieved" not in log
    assert b"a loop of the worker broke" not in log


async def held(redis: Redis) -> int:
    return int(await cast("Any", redis.hlen(KEYS.working("fuzzed"))))


async def test_ten_thousand_hostile_payloads_never_stop_a_worker_and_none_is_lost(redis: Redis, worker: Worker) -> None:
    pushed = list(payloads(SEED, 10_000))
    for at in range(0, len(pushed), 100):
        await cast("Any", redis.lpush(KEYS.queue("fuzz"), *pushed[at : at + 100]))

    async def drained() -> bool:
        return worker.lives() and not await cast("Any", redis.llen(KEYS.queue("fuzz"))) and not await held(redis)

    await wait_until(drained, 180, "all payloads dealt with")
    processed = int(await redis.get(KEYS.stat("processed")) or 0)
    log = worker.end()
    assert processed >= len(pushed)
    found = await Found.look(redis, worker)
    assert found.lost(pushed)[:20] == []
    ran, buried = worker.notes_file.read_bytes().count(b"fz-"), int(await redis.zcard(KEYS.dead))
    retried = int(await redis.zcard(KEYS.retry))
    assert min(ran, buried, retried) > 500, (
        f"{ran} ran, {buried} died, {retried} wait: the payloads are all of one kind"
    )
    assert found.reasons + log.count(b"buried in the dead set") + log.count(b"cannot be written back") >= buried
    check_log(log)


@pytest.mark.parametrize("due_set", [KEYS.schedule, KEYS.retry])
async def test_hostile_entries_of_the_schedule_and_the_retry_set_never_stop_the_scheduler(
    redis: Redis, worker: Worker, due_set: str
) -> None:
    pushed = list(payloads(SEED + 1, 2_000))
    now = time.time()
    for at in range(0, len(pushed), 100):
        batch = enumerate(pushed[at : at + 100])
        await redis.zadd(due_set, {raw: -1e300 if place % 7 == 0 else now - place for place, raw in batch})

    async def drained() -> bool:
        due = await redis.zcount(due_set, "-inf", now)
        waiting = await cast("Any", redis.llen(KEYS.queue("fuzz")))
        return worker.lives() and not due and not waiting and not await held(redis)

    await wait_until(drained, 180, "all entries dealt with")
    log = worker.end()
    found = await Found.look(redis, worker)
    assert found.lost(pushed)[:20] == []
    check_log(log)
