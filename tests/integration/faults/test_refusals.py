"""Redis is there and refuses: full, demoted, loading, or slow. The fleet bears it under load, and says what it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.faults.outages import Outages, survives
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]

_KEYS, _MICROSECONDS = 3_000, "700"  # of each key while Redis loads: some seconds in all


async def test_fleet_bears_a_redis_that_is_full_and_ends_its_jobs_all_the_same(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        with outages.storm.away("OOM"):
            await outages.storm.redis.config_set("maxmemory", "1")
            done = await outages.processed()

            async def more_ended() -> bool:
                return await outages.processed() > done

            await wait_until(more_ended, 20, "jobs that end while Redis is full")
            await outages.seen_by_all("OOM command not allowed")
            await outages.storm.redis.config_set("maxmemory", "0")

    await survives(tmp_path, harm)


async def test_fleet_bears_a_primary_that_is_demoted_for_a_while(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        with outages.storm.away("READONLY"):
            await outages.storm.redis.replicaof("127.0.0.1", "1")
            await outages.seen_by_all("READONLY")
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
            await asyncio.to_thread(server.start)
            await outages.storm.redis.connection_pool.disconnect()
        await outages.seen_by_all("loading the dataset in memory")

    await survives(tmp_path, harm)


async def test_fleet_bears_a_latency_of_half_a_second(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        slots = [*outages.storm.slots, *outages.storm.producers]
        with outages.storm.away("slow"):
            for slot in slots:
                assert slot.network is not None
                slot.network.delay = 0.25  # each way
            done = outages.done()
            await asyncio.sleep(8)  # how long it lasts
            assert outages.done() > done, "it goes on, if slowly"
            for slot in slots:
                assert slot.network is not None
                slot.network.delay = 0.0

    await survives(tmp_path, harm)
