"""Wakes an idle worker when there may be jobs of a foreign producer: soon, and without asking again and again.

A producer of ours leaves a token, for which a `Handover` waits. A Ruby process leaves none, so Redis is asked to tell
when a queue changes; all idle workers hear that, and look at moments of their own, not all at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from jobworker.runtime.life import Life
from jobworker.runtime.tracking import Tracking, Watched

_BLOCKED_SECONDS = 1.0  # between two looks at queues that have jobs and give none: paused or at their limit
_HOLD_SECONDS = 0.1  # between two questions of an idle worker whose queues change all the time
_TOKEN_SECONDS = 0.003  # in which a token that came with the change brings the jobs, and no question is needed
_SPREAD_SECONDS = 0.002  # for each worker, so that a job does not bring all of them at once
_MOST_SPREAD_SECONDS = 0.1


class Arrivals:
    """``wake`` is set when it is worth to look at ``queues``, whose names may change from call to call."""

    def __init__(
        self, life: Life, tracking: Tracking, wake: asyncio.Event, queues: Callable[[], Sequence[str]]
    ) -> None:
        self._life = life
        self._tracking = tracking
        self._wake = wake
        self._queues = queues
        self._loop = asyncio.get_running_loop()
        self._watched: Watched | None = None
        self._later: asyncio.TimerHandle | None = None
        self._asked_at = float("-inf")
        self._fruitless = False
        self._expecting = False

    def expect(self) -> None:
        """The worker has slots and found nothing for them: wake it when that may have changed."""
        self._expecting = True
        if self._later is not None:
            return
        if self._fruitless:
            # The queues have jobs and gave none a moment ago.
            self._later = self._loop.call_later(_BLOCKED_SECONDS, self._look_again)
        elif not self._watch().armed:
            self._ask()

    def came(self) -> None:
        """A look brought jobs."""
        self._expecting = self._fruitless = False

    def end(self) -> None:
        """Wait for nothing any more."""
        if self._later is not None:
            self._later.cancel()

    def _watch(self) -> Watched:
        keys = tuple(self._life.keys.queue(queue) for queue in sorted(self._queues()))
        if self._watched is None or self._watched.keys != keys:
            if self._watched is not None:
                self._tracking.unwatch(self._watched)
            self._watched = self._tracking.watch(keys, self._found, self._changed)
        return self._watched

    def _ask(self) -> None:
        self._later = None
        if self._expecting:
            self._asked_at = time.monotonic()
            watched = self._watch()
            if watched.keys:
                watched.arm()

    def _found(self) -> None:
        """A queue has jobs. If the look that follows brings none, they are not to be had now."""
        self._fruitless = True
        self._wake.set()

    def _look_again(self) -> None:
        self._fruitless = False
        self._ask()

    def _changed(self) -> None:
        """A queue has changed: ask whether it has jobs, but not more often than is good for Redis."""
        self._fruitless = False
        if self._expecting and self._later is None:
            spread = random.uniform(0, min(_MOST_SPREAD_SECONDS, _SPREAD_SECONDS * (self._life.workers - 1)))
            hold = self._asked_at + _HOLD_SECONDS - time.monotonic()
            self._later = self._loop.call_later(max(spread, hold, _TOKEN_SECONDS), self._ask)
