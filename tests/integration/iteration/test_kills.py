"""SIGKILL at any moment: no slice, no join and no id is lost; what happens twice was in work at a death."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.deaths import POISON_AFTER
from jobworker.protocol.keys import Keys
from jobworker.protocol.progress import JobProgress
from jobworker.protocol.reading import activities
from jobworker.protocol.records import WorkerId
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

KEYS = Keys()
_KILLS = 6
NO_POISON: dict[str, Any] = {POISON_AFTER: 0}


class Mortal:
    """A worker that comes back under its own name, as a container does: its next life gives back what it held."""

    def __init__(self, redis: Redis, url: str, folder: Path) -> None:
        self._redis, self._url, self._folder = redis, url, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = 0

    @property
    def log(self) -> str:
        return (self._folder / f"{self._lives}.log").read_text()

    async def live(self) -> None:
        before = (await activities(self._redis, KEYS, [WorkerId("a")]))[0].epoch
        self._lives += 1
        environment = {
            **os.environ,
            "JOBWORKER_REDIS_URL": self._url,
            "JOBWORKER_WORKER": "a",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, "-m", "jobworker.cli", "run", "jobs_for_kills:app", "-c", "3"]
        self._start(command, environment)

        async def registered() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            return (await activities(self._redis, KEYS, [WorkerId("a")]))[0].epoch not in {None, before}

        await wait_until(registered, 30, "registration")

    def _start(self, command: list[str], environment: dict[str, str]) -> None:
        with (self._folder / f"{self._lives}.log").open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


@pytest.fixture
async def mortal(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Mortal]:
    worker = Mortal(redis, redis_server.url, tmp_path)
    yield worker
    worker.end()


async def killed_at_random(worker: Mortal, over: Callable[[], Awaitable[bool]], seed: int) -> int:
    """Kill it again and again until the jobs are done; how often that was."""
    chance = random.Random(seed)
    for kill in range(_KILLS):
        await worker.live()
        await asyncio.sleep(chance.uniform(0.0, 0.5))  # the moment of the death
        if await over():
            return kill
        worker.kill()
    await worker.live()
    return _KILLS


async def counts(redis: Redis, key: str) -> dict[str, int]:
    raw = cast("dict[bytes, bytes]", await redis.hgetall(key))
    return {field.decode(): int(count) for field, count in raw.items()}


async def test_parallel_jobs_are_joined_whatever_dies(redis: Redis, mortal: Mortal) -> None:
    client = Client(redis)
    jids = [await client.enqueue("Sum", [90, parts], **NO_POISON) for parts in (1, 3, 5, 7, 9)]

    async def over() -> bool:
        found = [await client.progress(jid) for jid in jids]
        return all(one is not None and one.state.over for one in found)

    kills = await killed_at_random(mortal, over, seed=7)
    await wait_until(over, 60, "the end of all jobs")
    assert kills > 0
    assert await redis.smembers("test:early") == set()
    joined = await counts(redis, "test:joined")
    assert set(joined) == set(jids)
    # A death may come in the middle of as many joins as there are slots.
    assert sum(joined.values()) <= len(jids) + kills * 3
    rows = [await counts(redis, f"test:rows:{jid}") for jid in jids]
    assert [sorted(map(int, each)) for each in rows] == [list(range(90))] * len(jids)
    assert await redis.hlen(KEYS.working(WorkerId("a"))) == 0


async def test_ids_that_are_noted_at_once_are_repeated_only_where_a_death_came_in_between(
    redis: Redis, mortal: Mortal
) -> None:
    client = Client(redis)
    jid = await client.enqueue("Once", [1_000], **NO_POISON)

    async def ended() -> JobProgress | None:
        found = await client.progress(jid)
        return found if found is not None and found.state.over else None

    async def over() -> bool:
        return await ended() is not None

    kills = await killed_at_random(mortal, over, seed=11)
    found = await wait_until(ended, 60, "the end of the job")
    assert kills > 0
    assert found is not None
    assert found.done == {"user": 1_000}
    did = await counts(redis, "test:once")
    assert sorted(map(int, did)) == list(range(1_000))
    assert sum(did.values()) - 1_000 <= kills
