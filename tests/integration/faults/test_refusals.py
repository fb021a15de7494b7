"""Redis is there and refuses, under load: it is full, demoted, or loads its data."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis import exceptions
from redis.asyncio import Redis

from tests.integration.faults.outages import Outages, survives
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]

AWAY = "running jobs go on, their results wait"
_KEYS, _MICROSECONDS = 6_000, "700"  # of each key while Redis loads: some seconds in all


async def loads(redis: Redis) -> bool:
    try:
        await redis.ping()
    except exceptions.BusyLoadingError:
        return True
    except exceptions.ConnectionError:
        return False
    return False


async def test_fleet_bears_a_redis_that_is_full_and_ends_its_jobs_all_the_same(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        with outages.storm.away("OOM"):
            await outages.storm.redis.config_set("maxmemory", "1")
            done = await outages.processed()

            async def more_ended() -> bool:
                return await outages.processed() > done

            await wait_until(more_ended, 20, "jobs that end while Redis is full")
            await outages.refused()
            await outages.storm.redis.config_set("maxmemory", "0")

    await survives(tmp_path, harm)


async def test_fleet_bears_a_primary_that_is_demoted_for_a_while(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        with outages.storm.away("READONLY"):
            await outages.storm.redis.replicaof("127.0.0.1", "1")
            await outages.seen_by_all(AWAY)
            await outages.refused()
            await outages.storm.redis.replicaof("NO", "ONE")

    await survives(tmp_path, harm)


async def test_fleet_bears_a_redis_that_loads_its_data_for_long(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        server = outages.storm.server
        await outages.storm.redis.mset({f"fill:{number}": "x" for number in range(_KEYS)})
        async with outages.storm.redis.pipeline(transaction=False) as pipe:
            for number in range(_KEYS):
                _ = pipe.set(f"fill:{number}", "y")
            await pipe.execute()
        with outages.storm.away("LOADING"):
            await asyncio.to_thread(server.kill)
            server.flags = ("--key-load-delay", _MICROSECONDS)
            starting = asyncio.create_task(asyncio.to_thread(server.start))
            await wait_until(lambda: loads(outages.storm.redis), 10, "a Redis that loads")
            assert not starting.done()
            await starting
        await outages.seen_by_all(AWAY)

    await survives(tmp_path, harm)
