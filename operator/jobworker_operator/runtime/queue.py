"""Keys to reconcile: each at most once in line, each with one worker at a time, failing ones ever less often."""

from __future__ import annotations

import asyncio
import random

from jobworker_operator.model.spec import Key

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 300.0
TIMER_SLACK = 0.001


class WorkQueue:
    """`add` and `add_after` from anywhere in the loop; `get` and then `done` from each worker."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, tuple[int, float]] = {}

    @property
    def depth(self) -> int:
        """Keys in line."""
        return len(self._waiting)

    @property
    def in_progress(self) -> int:
        """Keys that are being worked on."""
        return len(self._busy)

    @property
    def oldest_seconds(self) -> float:
        """How long the key has waited that has waited longest."""
        return _now() - min(self._waiting.values()) if self._waiting else 0.0

    def add(self, key: Key) -> None:
        """Reconcile ``key`` soon, once, however often this is called; again if it is being worked on right now."""
        if key not in self._waiting:
            self._waiting[key] = _now()
            if key not in self._busy:
                self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconcile ``key`` in ``seconds`` at the latest; the soonest of several calls counts."""
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= _now() + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._due, key)

    async def get(self) -> tuple[Key, float]:
        """The next key and how long it has waited, in seconds. Call `done` with it afterwards."""
        key = await self._ready.get()
        self._busy.add(key)
        # What was to be looked at later is looked at now, and decides anew when to look next.
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        return key, _now() - self._waiting.pop(key)

    def done(self, key: Key, *, failed: bool = False) -> float | None:
        """The worker is through with ``key``. Returns the pause before the next try of a failed one."""
        self._busy.discard(key)
        if key in self._waiting:  # added while it was busy
            self._ready.put_nowait(key)
        if not failed:
            self._failures.pop(key, None)
            return None
        failures, due = self._failures.get(key, (0, 0.0))
        now = _now()
        # An event may bring a key back before its pause is over; failing again then is no further news.
        # A loop calls its timers up to one tick of its clock early: such a key did wait out its pause.
        if now >= due - TIMER_SLACK:
            failures += 1
        # Jitter keeps keys that failed together, because the API server was away, from coming back together.
        pause = random.uniform(0.5, 1.0) * min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 30))
        self._failures[key] = failures, now + pause
        self.add_after(key, pause)
        return pause

    def forget(self, key: Key) -> None:
        """No more timers and failures of a key that is gone."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._failures.pop(key, None)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)


def _now() -> float:
    return asyncio.get_running_loop().time()
