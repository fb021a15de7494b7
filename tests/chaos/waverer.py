"""Pauses iterating jobs and resumes them, again and again, as somebody does who cannot make up their mind."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from typing import cast

import orjson
from redis.asyncio import Redis

from jobworker.client.control import carry_out_async
from jobworker.protocol import control
from jobworker.protocol.control import Standing, Wanted
from tests.chaos.fleet import KEYS, patiently

_PERIOD_SECONDS = 0.4
_RESTING = 3  # jobs at a time: the others shall have something to do


class Waverer:
    """``did`` counts what came of it. What was paused goes on by `let_all_go` at the latest."""

    def __init__(self, redis: Redis, seed: int) -> None:
        self.did: Counter[str] = Counter()
        self._redis = redis
        self._chance = random.Random(f"{seed}-waverer")
        self._asked: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.0, 2 * _PERIOD_SECONDS))
            if len(self._asked) < _RESTING:
                walking = await patiently(self._walking)
                if walking:
                    await self._ask(self._chance.choice(walking), Wanted.PAUSE)
            else:
                await self._ask(self._chance.choice(sorted(self._asked)), Wanted.RESUME)

    async def let_all_go(self) -> None:
        """Nothing rests from here on."""
        for jid in sorted(self._asked):
            await self._ask(jid, Wanted.RESUME)

    async def _ask(self, jid: str, wanted: Wanted) -> None:
        # Before it is asked: cancelled in between, it may have been heard.
        self._asked.add(jid)
        answer = await patiently(lambda: carry_out_async(self._redis, control.ask(KEYS, jid, wanted)))
        if wanted is Wanted.RESUME or answer.standing is Standing.OVER:
            self._asked.discard(jid)
        if answer.changed:
            self.did[f"{wanted.value}d while {answer.standing.value}"] += 1

    async def _walking(self) -> list[str]:
        workers = await cast("Awaitable[set[bytes]]", self._redis.smembers(KEYS.workers))
        found: list[str] = []
        for worker in sorted(workers):
            held = await cast("Awaitable[list[bytes]]", self._redis.hvals(KEYS.working(worker.decode())))
            jobs = [orjson.loads(entry.partition(b"\n")[2]) for entry in held]
            found += [job["jid"] for job in jobs if job["class"].endswith("Walk")]
        return found
