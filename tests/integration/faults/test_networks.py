"""The network is slow, or nothing passes and no connection ends: nobody is taken for dead, and all goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.faults.outages import Outages, survives

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]

SILENT_SECONDS = 7.0  # longer than a heartbeat lives and than a worker waits for an answer, both 5 s


async def test_fleet_bears_a_latency_of_half_a_second(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        slots = [*outages.storm.slots, *outages.storm.producers]
        with outages.storm.away("slow"):
            for slot in slots:
                assert slot.network is not None
                slot.network.delay = 0.25  # each way
            done = outages.done()
            await asyncio.sleep(6)  # how long it lasts
            assert outages.done() > done, "it goes on, if slowly"
            for slot in slots:
                assert slot.network is not None
                slot.network.delay = 0.0

    await survives(tmp_path, harm)


async def test_nobody_is_taken_for_dead_after_the_network_of_all_swallowed_everything(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        networks = [slot.network for slot in (*outages.storm.slots, *outages.storm.producers) if slot.network]
        with outages.storm.away("network silent"):
            for network in networks:
                network.silent = True
            await asyncio.sleep(SILENT_SECONDS)
            for network in networks:
                network.silent = False
        await outages.seen_by_all("TimeoutError")

    await survives(tmp_path, harm)
