"""Gives back the jobs of workers that died without goodbye. The worker that leads the scheduler does; see there.

A worker must be found dead twice, some time apart, by a watcher whose connection held in between: after an outage of
Redis every heartbeat has run out, and the living need a moment to say that they live.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from jobworker.errors import JobworkerError
from jobworker.protocol.records import RescueAnswer, WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY, Link

log = logging.getLogger("jobworker.rescue")

SILENT_SECONDS = 2.5
"""Between the two looks at the least: a beat that hangs is given up after 1.5 s, and made again on a new connection."""

_NOBODY: frozenset[WorkerId] = frozenset()


class Watch:
    """One worker's watch over all others. A loop of its own: a long rescue keeps no due job waiting."""

    def __init__(self, life: Life, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._life = life
        self._link = link
        self._seen = asyncio.Event()
        self._workers = _NOBODY
        self._suspects: dict[WorkerId, float] = {}  # since when, by the clock

    def see(self, workers: frozenset[WorkerId]) -> None:
        """These are registered, and this worker is the one that looks after them."""
        self._workers = workers - {self._life.worker}
        if self._workers or self._suspects:
            self._seen.set()

    def blind(self) -> None:
        """Somebody else looks, or Redis is away: what was suspected is not known any more."""
        self._suspects.clear()
        self._workers = _NOBODY

    async def run(self) -> None:
        """Look whenever something was seen, until cancelled."""
        while True:
            await self._seen.wait()
            self._seen.clear()
            try:
                await self.look()
            except AWAY as error:
                self.blind()
                self._link.lost(error)

    async def look(self) -> None:
        """Look once: rescue who has been suspected for long enough, suspect who has no heartbeat."""
        asked = self._clock()
        silent = await self._silent(sorted(self._workers))
        # RACE blinded while this was read: nobody is suspected from before an outage.
        suspects = self._suspects
        # Due jobs and nudges make looks follow each other at once, and at once after an outage, when nobody has beaten.
        dead = {worker for worker in silent & suspects.keys() if asked - suspects[worker] >= SILENT_SECONDS}
        for worker in sorted(dead):
            try:
                await self._rescue(worker)
            except JobworkerError:
                # What it holds was not written by our scripts. That is for a person, and no reason to leave the others.
                log.exception("a dead worker cannot be rescued: look at its working set", extra={"dead": worker})
        # Since now, not since it was asked: Redis may have answered late.
        now = self._clock()
        self._suspects = {worker: self._suspects.get(worker, now) for worker in (silent - dead) & self._workers}

    async def _silent(self, workers: list[WorkerId]) -> set[WorkerId]:
        if not workers:
            return set()
        redis, keys = self._life.redis, self._life.keys
        alive = await cast("Awaitable[list[Any]]", redis.mget([keys.alive(worker) for worker in workers]))
        return {worker for worker, epoch in zip(workers, alive, strict=True) if epoch is None}

    async def _rescue(self, worker: WorkerId) -> None:
        life = self._life
        fleet = await cast("Awaitable[bytes | None]", life.redis.hget(life.keys.record(worker), "fleet"))
        rescued = await rescue(life.fleet, worker, "" if fleet is None else fleet.decode(), Death())
        if rescued.answer is RescueAnswer.OK:
            log.warning(
                "a worker died without goodbye: its jobs went back to their queues",
                extra={"dead": worker, "jobs": rescued.moved, "poisoned": rescued.poisoned},
            )
