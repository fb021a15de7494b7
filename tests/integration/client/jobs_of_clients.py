"""Jobs for workers of these tests. Their effects lie in a Redis of their own, which no test kills."""

from __future__ import annotations

import asyncio
import os

from redis.asyncio import Redis

from jobworker import App

app = App()


def _effects() -> Redis:
    return Redis.from_url(os.environ["EFFECTS_URL"], protocol=3)


@app.job
async def mark(name: str) -> None:
    async with _effects() as effects:
        await effects.hincrby("marks", name, 1)


@app.job
async def hold(name: str) -> None:
    """Begun, it waits for the gate, and is marked then."""
    async with _effects() as effects:
        await effects.sadd("begun", name)
        while not await effects.exists("gate"):  # noqa: ASYNC110  # the gate is another process'
            await asyncio.sleep(0.05)
        await effects.hincrby("marks", name, 1)
