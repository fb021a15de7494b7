"""Redis answers nobody for a while: nobody may be taken for dead by those who hear nothing either."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.integration.faults.outages import Outages, survives

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]

SECONDS = 7.0  # longer than a heartbeat lives and than a worker waits for an answer, both 5 s


async def test_nobody_is_taken_for_dead_after_redis_was_paused(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        with outages.storm.away("CLIENT PAUSE"):
            await outages.storm.redis.client_pause(int(1000 * SECONDS))
            await asyncio.sleep(SECONDS)
        await outages.seen_by_all("TimeoutError")

    await survives(tmp_path, harm)


async def test_nobody_is_taken_for_dead_after_the_server_was_stopped(tmp_path: Path) -> None:
    async def harm(outages: Outages) -> None:
        with outages.storm.away("SIGSTOP"):
            os.kill(outages.storm.server.pid, signal.SIGSTOP)
            await asyncio.sleep(SECONDS)
            os.kill(outages.storm.server.pid, signal.SIGCONT)
        await outages.seen_by_all("TimeoutError")

    await survives(tmp_path, harm)
