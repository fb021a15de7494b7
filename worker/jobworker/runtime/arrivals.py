"""Wakes an idle worker when there may be jobs: at once and without asking again and again.

A producer of ours leaves a token that wakes one worker. A foreign producer (a Ruby process) leaves none, so Redis is
asked to tell when a queue changes; all idle workers hear that, and look at moments of their own, not all at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from jobworker.runtime.life import Life
from jobworker.runtime.tracking import Tracking, Watched

POLL_SECONDS = 0.25  # between two looks where Redis does not tell of changes
_LOOK_SECONDS = 30.0  # between two looks where it does: whatever was missed, this finds
_BLOCKED_SECONDS = 1.0  # between two looks at queues that have jobs and give none: paused or at their limit
_BLOCK_SECONDS = 15.0  # of one BLPOP
_ANSWER_SECONDS = 5.0  # how much later than that Redis may answer
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
        self._token: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._asked_at = float("-inf")
        self._fruitless = False
        self._expecting = False

    def expect(self) -> None:
        """The worker has slots and found nothing for them: wake it when that may have changed."""
        self._expecting = True
        if self._token is None:
            self._token = asyncio.create_task(self._next_token())
            self._token.add_done_callback(lambda _: self._wake.set())
        if self._later is not None:
            return
        if self._fruitless:
            # The queues have jobs and gave none a moment ago.
            self._later = self._loop.call_later(_BLOCKED_SECONDS, self._look_again)
        elif not self._watch().armed:
            self._ask()

    def queues_changed(self) -> None:
        """Wait for others than before."""
        if self._token is not None:
            self._token.add_done_callback(_forget)
            self._token.cancel()
            self._token = None

    def came(self) -> None:
        """A look brought jobs."""
        self._expecting = self._fruitless = False

    def check(self) -> None:
        """Forget a token that was heard.

        Raises:
            RedisError, OSError: Redis went away while it was waited for.
        """
        if self._token is not None and self._token.done():
            token, self._token = self._token, None
            token.result()

    def end(self) -> None:
        """Wait for nothing any more."""
        if self._token is not None:
            self._token.cancel()
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

    async def _next_token(self) -> None:
        wakes = [self._life.keys.wake(queue) for queue in sorted(self._queues())]
        if not wakes:
            await asyncio.sleep(_LOOK_SECONDS)  # until queues are learned, which cancels this
        began = time.monotonic()
        while True:
            limit = _LOOK_SECONDS if self._tracking.works else POLL_SECONDS
            left = began + limit - time.monotonic()
            if left <= 0:
                return
            if await self._blpop(wakes, min(left, _BLOCK_SECONDS)):
                return

    async def _blpop(self, keys: list[str], seconds: float) -> bool:
        """BLPOP may take longer than other commands do, so it has a connection and a time of its own."""
        pool = self._life.redis.connection_pool
        connection: Any = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py does not say
        try:
            await connection.send_command("BLPOP", *keys, f"{seconds:.3f}")
            answer = await connection.read_response(timeout=seconds + _ANSWER_SECONDS)
        except BaseException:
            # Its answer may still come: nobody else may read it as theirs.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
        return answer is not None


def _forget(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
