"""Looks for workers that died without goodbye and gives their jobs back: one worker at a time, every few seconds.

A worker must be found dead twice by a watcher whose connection held in between: after an outage of Redis every
heartbeat has run out, and the living need a moment to say that they live.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable
from typing import Any, cast

from jobworker.errors import JobworkerError
from jobworker.protocol.records import RescueAnswer, WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY, Link

log = logging.getLogger("jobworker.rescue")

PERIOD_SECONDS = 2.5
_LOCK_MS = 6_000  # longer than two looks: who has the lock keeps it while it lives, and so sees the dead twice


class Watch:
    """One worker's watch over all others."""

    def __init__(self, life: Life, link: Link) -> None:
        self._life = life
        self._link = link
        self._suspects: set[WorkerId] = set()

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS * random.uniform(0.8, 1.2))
            try:
                await self.look()
            except AWAY as error:
                self._suspects.clear()
                self._link.lost(error)

    async def look(self) -> None:
        """Look once: rescue who was already suspected, suspect who has no heartbeat."""
        if not await self._have_lock():
            self._suspects.clear()
            return
        silent = await self._silent()
        for worker in sorted(silent & self._suspects):
            try:
                await self._rescue(worker)
            except JobworkerError:
                # What it holds was not written by our scripts. That is for a person, and no reason to leave the others.
                log.exception("a dead worker cannot be rescued: look at its working set", extra={"dead": worker})
        self._suspects = silent - self._suspects

    async def _have_lock(self) -> bool:
        redis, keys, me = self._life.redis, self._life.keys, self._life.worker
        if await redis.set(keys.rescue_lock, me, nx=True, px=_LOCK_MS):
            return True
        if await redis.get(keys.rescue_lock) != me.encode():
            return False
        # RACE the lock ran out in between and another worker has it: two watch for a moment, and the rescue script
        # lets only one of them move a job.
        await redis.pexpire(keys.rescue_lock, _LOCK_MS)
        return True

    async def _silent(self) -> set[WorkerId]:
        redis, keys = self._life.redis, self._life.keys
        members = await cast("Awaitable[set[bytes]]", redis.smembers(keys.workers))
        workers = [WorkerId(member.decode()) for member in members if member.decode() != self._life.worker]
        if not workers:
            return set()
        async with redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                cast("Any", pipe).exists(keys.alive(worker))  # queued here, sent by execute
            alive = await pipe.execute()
        return {worker for worker, lives in zip(workers, alive, strict=True) if not lives}

    async def _rescue(self, worker: WorkerId) -> None:
        life = self._life
        fleet = await cast("Awaitable[bytes | None]", life.redis.hget(life.keys.record(worker), "fleet"))
        rescued = await rescue(life.fleet, worker, "" if fleet is None else fleet.decode(), Death())
        if rescued.answer is RescueAnswer.OK:
            log.warning(
                "a worker died without goodbye: its jobs went back to their queues",
                extra={"dead": worker, "jobs": rescued.moved, "poisoned": rescued.poisoned},
            )
