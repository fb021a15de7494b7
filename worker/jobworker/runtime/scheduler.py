"""Looks after what is due: scheduled jobs and retries, dead workers, deaths without handlers, pauses that are over.

One worker at a time does, quiet or not, by a lease; the others only ask from time to time whether it still lives. It
knows when the next job is due and sleeps until then, and Redis or who schedules a sooner one wakes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass
from typing import Any

from jobworker.protocol.pausing import lift_pauses
from jobworker.protocol.scheduling import Followed, Led, look, promote, release, renew
from jobworker.runtime.deaths import Deaths
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.rescue import Watch
from jobworker.runtime.tracking import Tracking, Watched

log = logging.getLogger("jobworker.scheduler")

_TICK = 0.001  # seconds: sleeping until the very moment would wake just before it
_RELEASE_SECONDS = 1.0
_FOLLOWER_SECONDS = 0.25  # of waiting more for each worker, so that hundreds of them do not all ask


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between two looks at the most, and until a lease ends.

    A producer that nudges nobody, as Sidekiq's, waits ``period`` at the worst. A dead worker is rescued within the 5 s
    of its heartbeat and two periods; if it was the one that looks, within ``lease`` and one period.
    """

    period: float = 3.0
    lease: float = 6.0


_PACE = Pace()
_ALONE = Pace(30.0, 9.0)
"""Where Redis tells of every change: nobody is there to be watched, and a second worker is one of the changes. The
lease is prolonged in between, for a ninth of a look: whoever comes after a sudden death must not wait long."""

_RENEW_SECONDS = 4.0
_BREATH_SECONDS = 0.05  # between two looks that changes ask for


class Scheduler:
    """One worker's part in it."""

    def __init__(
        self,
        life: Life,
        link: Link,
        watch: Watch,
        deaths: Deaths,
        pace: Pace = _PACE,
        *,
        tracking: Tracking | None = None,
    ) -> None:
        self._life = life
        self._redis = life.redis
        self._keys = life.keys
        self._worker = life.worker
        self._link = link
        self._watch = watch
        self._deaths = deaths
        self._pace = pace
        self._nudges: Any = None  # redis-py's PubSub, while this worker leads
        self._changed = asyncio.Event()
        self._watched: Watched | None = None
        if tracking is not None:
            keys = life.keys
            changing = [keys.retry, keys.schedule, keys.deaths, keys.workers, keys.paused_until]
            self._watched = tracking.watch(changing, lambda: None, self._changed.set)
        self._alone = False
        self.leading = False

    async def run(self) -> None:
        """Look, sleep, until cancelled."""
        try:
            while True:
                try:
                    await self._rest(await self._look())
                except AWAY as error:
                    self._watch.blind()
                    self._link.lost(error)
                    await self._close_nudges()
                    await self._link.pause()
        finally:
            with contextlib.suppress(*AWAY, TimeoutError):
                async with asyncio.timeout(_RELEASE_SECONDS):
                    await self._close_nudges()
                    if self.leading:
                        await release(self._redis, self._keys, self._worker)

    async def _look(self) -> float:
        """Look once; seconds to sleep."""
        if self.leading and self._nudges is None:
            # Before the look: what is scheduled between the two is seen by the look or heard by the channel.
            nudges = self._redis.pubsub(ignore_subscribe_messages=True)
            await nudges.subscribe(self._keys.due)
            self._nudges = nudges
        if self.leading and self._watched is not None:
            self._changed.clear()
            if not self._watched.armed:
                self._watched.arm()
        pace = self._pace_now()
        seen = await look(self._redis, self._keys, self._worker, pace.lease)
        if seen.deaths:
            self._deaths.look()
        if isinstance(seen, Followed):
            return await self._follow(seen)
        if not self.leading:
            self.leading = True
            log.info("looking after due jobs and dead workers from now on", extra={"worker": self._worker})
            return 0.0
        self._watch.see(seen.workers)
        self._life.workers = len(seen.workers)
        self._alone = seen.workers <= {self._worker}
        if self._pace_now() != pace:
            return 0.0  # the lease is of another length from now on
        return await self._lead(seen)

    def _pace_now(self) -> Pace:
        told = self._watched is not None and self._watched.armed
        return _ALONE if told and self._alone and self._pace is _PACE else self._pace

    async def _follow(self, seen: Followed) -> float:
        if self.leading:
            log.warning(
                "another worker looks after due jobs by now: this one was too slow, or the one before has come back "
                "from a stop",
                extra={"worker": self._worker},
            )
        self.leading = self._alone = False
        self._watch.blind()
        self._life.workers = seen.workers
        await self._close_nudges()
        return seen.lease_seconds + _TICK + random.uniform(0, _FOLLOWER_SECONDS * max(1, seen.workers))

    async def _lead(self, seen: Led) -> float:
        for due_set, members in ((self._keys.retry, seen.retries), (self._keys.schedule, seen.scheduled)):
            if not members:
                continue
            promoted = await promote(self._redis, self._keys, due_set, members, seen.now)
            for fault in promoted.buried:
                log.error("due entry buried in the dead set: %s", fault, extra={"set": due_set})
        if seen.pause_ends is not None and seen.pause_ends <= seen.now:
            await lift_pauses(self._redis, self._keys, seen.now)
        if seen.retries or seen.scheduled:
            return 0.0
        events = [at for at in (seen.next_due, seen.pause_ends) if at is not None and at > seen.now]
        return min([self._pace_now().period, *(at - seen.now + _TICK for at in events)])

    async def _rest(self, seconds: float) -> None:
        if self._watched is not None and self._watched.armed and seconds > 0:
            await self._rest_alone(seconds)
        elif self._nudges is None or seconds == 0:
            await asyncio.sleep(seconds)
        else:
            await self._nudges.get_message(timeout=seconds)

    async def _rest_alone(self, seconds: float) -> None:
        """Until something changes, for so long at most."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, _RENEW_SECONDS)):
                    await self._changed.wait()
            except TimeoutError:
                if left > _RENEW_SECONDS:
                    await renew(self._redis, self._keys, self._worker, self._pace_now().lease)
            else:
                await asyncio.sleep(_BREATH_SECONDS)
                return

    async def _close_nudges(self) -> None:
        nudges, self._nudges = self._nudges, None
        if nudges is not None:
            with contextlib.suppress(*AWAY):
                await nudges.aclose()
