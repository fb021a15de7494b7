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
_WELL_SECONDS = 10.0  # without a refusal: while Redis refuses some commands, others go well all the time


def what_it_does(error: BaseException) -> str:
    """For a message: is Redis away, or is it there and refuses?"""
    if isinstance(error, exceptions.AuthenticationError):
        return "wants a password" if _is_missing(error) else "refuses this user and password"
    return "does not answer" if is_away(error) else "refuses commands"


def is_away(error: BaseException) -> bool:
    """Is nobody there? Who loads its data or wants a password is."""
    if isinstance(error, exceptions.BusyLoadingError | exceptions.AuthenticationError):
        return False
    return isinstance(error, OSError | exceptions.ConnectionError | exceptions.TimeoutError)


def in_words(error: BaseException) -> str:
    """`what_it_does`, in Redis' own words, and what to do about it where that is known."""
    if isinstance(error, exceptions.AuthenticationError) and _is_missing(error):
        return f"{what_it_does(error)}: {what_to_do(error)}"
    return "; ".join(filter(None, (f"{what_it_does(error)}: {error}", what_to_do(error))))


def what_to_do(error: BaseException) -> str:
    """What helps against it; empty where nothing is known, or only an address that is right."""
    if isinstance(error, exceptions.AuthenticationError):
        if _is_missing(error):
            return "write it into the URL, redis://:PASSWORD@HOST:6379/0, or redis://USER:PASSWORD@HOST:6379/0"
        return "the one in the URL is not right: redis://USER:PASSWORD@HOST:6379/0, without USER for the default user"
    if isinstance(error, exceptions.OutOfMemoryError):
        return "it is full: raise its maxmemory, or let workers end the jobs that wait there"
    if isinstance(error, exceptions.ReadOnlyError):
        return "it is a replica: the address has to lead to the primary"
    if isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error):
        return "another application uses a key of jobworker's: give one of them a Redis or a key prefix of its own"
    return ""


def _help(error: BaseException) -> dict[str, str]:
    advice = what_to_do(error)
    return {"help": advice} if advice else {}


def _is_missing(error: exceptions.AuthenticationError) -> bool:
    return "WRONGPASS" not in str(error) and "invalid" not in str(error)


class Link:
    """The connection to Redis as all loops of the worker see it. ``redis`` is who gets new connections when needed."""

    def __init__(self, address: str, redis: Redis | None = None) -> None:
        self._address = address
        self._redis = redis
        self._demoted = False
        self._since: float | None = None
        self._refused_at = float("-inf")
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
        self._refused_at = float("-inf") if is_away(error) else now
        if self._since is None:
            self._since = self._said = now
            log.error(
                "Redis %s: running jobs go on, their results wait, no job is taken until it is back",
                what_it_does(error),
                extra={"redis": self._address, "error": f"{type(error).__name__}: {error}", **_help(error)},
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
                    **_help(error),
                },
            )

    def back(self) -> None:
        """An attempt succeeded. Of a Redis that refuses, only the next some seconds show that it does so no more."""
        if self._since is None or time.monotonic() - self._refused_at < _WELL_SECONDS:
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
