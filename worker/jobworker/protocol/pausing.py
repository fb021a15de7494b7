"""Pauses of queues: no worker takes jobs of a paused queue, and what is pushed to it waits.

The fact is Sidekiq's own set of paused queues, so that Ruby and its web page see it too. A pause for a time has its
end beside it, and whichever worker looks next after that end lifts it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.scripts import Script

PAUSE, UNPAUSE = Script("pause"), Script("unpause")


async def pause(redis: Redis, keys: Keys, queue: str, seconds: float | None = None) -> bool:
    """Pause ``queue`` until it is unpaused, or for so long. False if it was paused already; the last call counts."""
    lasts = "" if seconds is None else round(seconds * 1000)
    return bool(await PAUSE(redis, [keys.paused, keys.paused_until], [queue, lasts]))


async def unpause(redis: Redis, keys: Keys, queue: str) -> bool:
    """Let workers take jobs of ``queue`` again. False if it was not paused."""
    return await _lift(redis, keys, queue, only_over=False)


async def lift_pauses(redis: Redis, keys: Keys, now: float) -> int:
    """Unpause the queues whose pause is over at ``now`` (epoch seconds) and by Redis' clock as well; how many."""
    read = redis.zrange(keys.paused_until, 0, round(now * 1000), byscore=True, offset=0, num=100)
    over = await cast("Awaitable[list[bytes]]", read)
    return sum([await _lift(redis, keys, queue.decode(), only_over=True) for queue in over])


async def _lift(redis: Redis, keys: Keys, queue: str, *, only_over: bool) -> bool:
    names = [keys.paused, keys.paused_until, keys.queue(queue), keys.wake(queue)]
    return bool(await UNPAUSE(redis, names, [queue, int(only_over)]))
