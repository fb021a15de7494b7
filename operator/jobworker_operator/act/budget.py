"""How fast the operator may write to the API server: a token bucket in front of every write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

RATE = 20.0  # writes a second
BURST = 40.0
_TICK = 0.001


class WriteBudget:
    """Fills with ``rate`` tokens a second up to ``burst``. Writers wait in the order in which they came."""

    def __init__(self, rate: float = RATE, burst: float = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at = clock()
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait for the right to write once."""
        # asyncio's lock wakes in the order of asking, so nobody is passed over.
        async with self._turn:
            self._fill()
            while self._tokens < 1:
                # Not less than a clock can show, or rounding would make a busy loop of the last bit.
                await asyncio.sleep(max(_TICK, (1 - self._tokens) / self._rate))
                self._fill()
            self._tokens -= 1

    def take_spare(self) -> bool:
        """For writes that can wait: take one only while more than half of the burst is left."""
        self._fill()
        if self._turn.locked() or self._tokens <= self._burst / 2:
            return False
        self._tokens -= 1
        return True

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
