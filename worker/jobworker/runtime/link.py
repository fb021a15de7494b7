"""How the worker bears a Redis that is away: it says so once, waits longer each time, and says when it is back."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from redis import exceptions
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger("jobworker.redis")

AWAY = (RedisError, OSError)
"""All of them are waited out: a lost connection, a time-out, LOADING, READONLY, OOM. The message tells which."""

_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between two attempts
_REMIND = 30.0  # seconds after which an outage is said again


def what_it_does(error: BaseException) -> str:
    """For a message: is Redis away, or is it there and refuses?"""
    if isinstance(error, exceptions.BusyLoadingError):
        return "refuses commands"
    away = isinstance(error, OSError | exceptions.ConnectionError | exceptions.TimeoutError)
    return "does not answer" if away else "refuses commands"


class Link:
    """The connection to Redis as all loops of the worker see it. ``redis`` is who gets new connections when needed."""

    def __init__(self, address: str, redis: Redis | None = None) -> None:
        self._address = address
        self._redis = redis
        self._demoted = False
        self._since: float | None = None
        self._said = 0.0
        self._pause = _SHORTEST

    @property
    def away(self) -> bool:
        """Is Redis known to be away?"""
        return self._since is not None

    def lost(self, error: BaseException) -> None:
        """An attempt failed."""
        now = time.monotonic()
        self._demoted = self._demoted or isinstance(error, exceptions.ReadOnlyError)
        if self._since is None:
            self._since = self._said = now
            log.error(
                "Redis %s: running jobs go on, their results wait, no job is taken until it is back",
                what_it_does(error),
                extra={"redis": self._address, "error": f"{type(error).__name__}: {error}"},
            )
        elif now - self._said >= _REMIND:
            self._said = now
            log.error(
                "Redis still %s",
                what_it_does(error),
                extra={
                    "redis": self._address,
                    "seconds": round(now - self._since),
                    "error": f"{type(error).__name__}: {error}",
                },
            )

    def back(self) -> None:
        """An attempt succeeded."""
        if self._since is None:
            return
        log.info("Redis is back", extra={"redis": self._address, "seconds": round(time.monotonic() - self._since, 1)})
        self._since = None
        self._pause = _SHORTEST

    async def pause(self) -> None:
        """Wait before the next attempt: twice as long each time, up to two seconds, with jitter."""
        if self._demoted and self._redis is not None:
            # The address leads to another primary by now, but an open connection stays with the old one for ever.
            self._demoted = False
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(_LONGEST, self._pause * 2)
