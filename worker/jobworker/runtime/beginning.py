"""How a process waits for Redis at its start, and what it says of the Redis that it finds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from redis.asyncio import Redis

from jobworker.runtime.link import AWAY, Link, in_words

log = logging.getLogger("jobworker.worker")

_SAY_AGAIN_SECONDS = 5.0  # of silence about a Redis that is away, twice as long each time
_OLDEST_REDIS = (7, 0)


async def until_redis(
    attempt: Callable[[], Coroutine[Any, Any, None]], link: Link, address: str, seconds: float, stop: asyncio.Event
) -> bool:
    """Until it succeeds, or ``stop`` is set or the time is over (False); what is wrong is said in one line."""
    began = time.monotonic()
    say_at, silence = began, _SAY_AGAIN_SECONDS
    while not stop.is_set():
        try:
            await attempt()
        except AWAY as error:
            now = time.monotonic()
            left = began + seconds - now
            message = f"Redis at {address} {in_words(error)}"
            if left <= 0:
                log.critical("%s; giving up after %.0f s", message, now - began)
                return False
            if now >= say_at:
                log.error("%s; trying for %.0f s more", message, max(1.0, left))  # noqa: TRY400  # one line, no traceback: the address tells all
                say_at, silence = now + silence, 2 * silence
            await link.pause()
        else:
            return True
    return False


async def inspect(redis: Redis) -> None:
    """Say it where this Redis is too old, or may lose jobs."""
    facts = await redis.info()
    version = str(facts.get("redis_version", "0.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_REDIS:
        log.error("Redis %s is too old, scripts of this version need 7.0", version)
    policy = facts.get("maxmemory_policy")
    if policy not in {"noeviction", None} and facts.get("maxmemory"):
        log.warning("Redis may evict jobs: set maxmemory-policy noeviction", extra={"policy": policy})
