"""Jobs for workers of these tests. Their effects lie in a Redis of their own, which no test kills."""

from __future__ import annotations

import asyncio
import os

from redis.asyncio import Redis

from jobworker import App, IteratingJob, list_items

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


@app.job
class Walk(IteratingJob):
    """Walks for minutes; marked once it is cancelled."""

    def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
        return list_items(range(100_000), cursor)

    async def each_iteration(self, item: int) -> None:  # noqa: ARG002  # nothing is done with it
        await asyncio.sleep(0.002)

    async def on_cancel(self) -> None:
        async with _effects() as effects:
            await effects.hincrby("marks", "cancelled", 1)
