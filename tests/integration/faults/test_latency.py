"""Each crossing of the network takes half a second: everything goes on, and nobody is taken for dead."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.faults.outages import Outages, survives

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]


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
