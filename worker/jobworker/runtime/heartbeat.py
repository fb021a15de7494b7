"""Tells Redis each second that the worker lives, and hears whether it shall be quiet.

Beats at once when a quiet worker becomes empty: the operator waits for exactly that beat before it deletes the pod.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from redis.asyncio import Redis

from jobworker.errors import StaleEpoch
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.runtime.life import ALIVE_SECONDS, Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.state import WorkerState

log = logging.getLogger("jobworker.heartbeat")

BEAT_SECONDS = 1.0


class Heartbeat:
    """``running`` counts jobs whose code runs here or whose end is not acknowledged."""

    def __init__(self, life: Life, link: Link, state: WorkerState, running: Callable[[], int]) -> None:
        self._life = life
        self._link = link
        self._state = state
        self._running = running
        self._now = asyncio.Event()
        self._last = float("-inf")

    @property
    def fresh(self) -> bool:
        """Does Redis take this worker for alive?"""
        return self._life.registered and not self._life.stale and time.monotonic() - self._last < ALIVE_SECONDS

    def registered(self) -> None:
        """Registering is a beat as well."""
        self._last = time.monotonic()

    def beat_now(self) -> None:
        """Do not wait for the period to end."""
        self._now.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self._beat()
            except AWAY as error:
                self._link.lost(error)
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def _beat(self) -> None:
        self._now.clear()
        if self._life.stale:
            return
        scripts = self._life.scripts
        try:
            reason = await scripts.beat(ALIVE_SECONDS, self._running(), self._life.beat_fields())
        except StaleEpoch:
            self._life.ended(scripts)
            return
        self._link.back()
        self._last = time.monotonic()
        self._state.hear(reason)


async def listen(redis: Redis, keys: Keys, worker: WorkerId, link: Link, heartbeat: Heartbeat) -> None:
    """Beat as soon as somebody quiets or unquiets the worker, until cancelled.

    The message is only a nudge: the beat's answer is the fact, so an old or lost message does no harm.
    """
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(keys.signal(worker))
                while True:
                    message = await channel.get_message(timeout=30.0)
                    # Also after subscribing: what was said while nobody listened is in the fact.
                    if message is not None:
                        heartbeat.beat_now()
        except AWAY as error:
            link.lost(error)
            await link.pause()
