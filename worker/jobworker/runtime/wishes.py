"""Hears at once that somebody wants a running job to cancel or pause, whoever wrote it and whichever process runs it.

Redis tells of changes of the job's iteration state (client-side caching), where Sidekiq's cancel writes too. That is
only a nudge. RACE it is lost, with a connection that nobody has found dead yet: the answer of the next checkpoint is
the fact, and comes within the job's `checkpoint_seconds`; as it does where Redis does not tell of changes at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from jobworker.runtime.tracking import Tracking, Watched

log = logging.getLogger("jobworker.jobs")

_PAUSE_SECONDS = 0.25  # between two questions: each checkpoint of the job itself is a change


class Wishes(Watched):
    """Listens for one job until `end`. ``hurry`` is called on the event loop when there is something for it to hear.

    It may be called again: the wish stands there until the job has obeyed.
    """

    def __init__(self, tracking: Tracking, key: str, hurry: Callable[[], None]) -> None:
        super().__init__(tracking, [key], lambda: None, self._look)
        self.question = ("HMGET", key, "cancelled", "paused")
        self._own_tracking = tracking
        self._hurry = hurry
        self._loop = asyncio.get_running_loop()
        self._asked_at = float("-inf")
        self._later: asyncio.TimerHandle | None = None
        self._ended = False
        tracking.add(self)
        self._ask()

    def end(self) -> None:
        """Listen no more."""
        self._ended = True
        self._own_tracking.unwatch(self)
        if self._later is not None:
            self._later.cancel()

    def answered(self, answer: Any) -> None:
        """What the state says."""
        if not self._ended and any(answer):
            self._hurry()

    def refused(self, error: ResponseError) -> None:
        """Somebody's key of another type stands there: the job's own checkpoint will say so."""
        log.warning("nobody can cancel or pause the job: %s", error, extra={"key": self.keys[0]})

    def _look(self) -> None:
        if self._later is None and not self._ended:
            pause = self._asked_at + _PAUSE_SECONDS - time.monotonic()
            self._later = self._loop.call_later(max(pause, 0.0), self._ask)

    def _ask(self) -> None:
        self._later = None
        self._asked_at = time.monotonic()
        self.arm()
