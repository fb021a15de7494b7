"""Does with retries and dead jobs what people do: hurries them, clears what was meant to die, revives poison."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from tests.chaos.fleet import KEYS, patiently
from tests.chaos.records import Journal

_PERIOD_SECONDS = 0.5
_AT_ONCE = 200
_SOON_SECONDS = 1.0
_STORY = ("jw_deaths", "jw_story", "error_class", "error_message", "failed_at")

_REVIVE = "if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then redis.call('LPUSH', KEYS[2], ARGV[2]) end"


class Clerk:
    """Looks about twice a second. Each burial is noted before it is undone."""

    def __init__(self, redis: Redis, journal: Journal) -> None:
        self._redis = redis
        self._journal = journal
        self._noted: set[bytes] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await patiently(self.hurry)
            await patiently(self.clear)
            await asyncio.sleep(_PERIOD_SECONDS)

    async def hurry(self) -> None:
        """Let what waits for a retry, 15 s and more, be due soon."""
        waiting = cast(
            "list[bytes]",
            await self._redis.zrange(KEYS.retry, cast("Any", f"({time.time() + _SOON_SECONDS}"), cast("Any", "+inf"),
                                     byscore=True, offset=0, num=_AT_ONCE),
        )  # fmt: skip
        for member in waiting:
            job = orjson.loads(member)
            if job["error_class"] != "Deliberate":
                self._once(
                    member, "violation", jid=job["jid"],
                    what=f"failed with {job['error_class']}: {job['error_message'][:200]}",
                )  # fmt: skip
            # XX: whoever promoted it meanwhile has it.
            await self._redis.zadd(KEYS.retry, {member: time.time() + _SOON_SECONDS / 2}, xx=True)

    async def clear(self) -> None:
        """Note who died and why; poison is sent back to work, as a person would once the cause is gone."""
        dead = cast("list[bytes]", await self._redis.zrange(KEYS.dead, 0, _AT_ONCE - 1))
        for member in dead:
            job = orjson.loads(member)
            error = job.get("error_class", "nothing known")
            message = str(job.get("error_message", ""))[:200]
            self._once(member, "buried", jid=job["jid"], error=error, message=message, deaths=job.get("jw_deaths", 0))
            if error == "Poison":
                alive = {name: value for name, value in job.items() if name not in _STORY}
                await self._revive(member, KEYS.queue(job["queue"]), orjson.dumps(alive))
            else:
                await self._redis.zrem(KEYS.dead, member)
            self._noted.discard(member)

    async def _revive(self, member: bytes, queue: str, alive: bytes) -> None:
        await cast("Any", self._redis).eval(_REVIVE, 2, KEYS.dead, queue, member, alive)

    def _once(self, member: bytes, event: str, **fields: Any) -> None:
        # Asked again after an answer was lost, it is the same burial.
        if member not in self._noted:
            self._noted.add(member)
            self._journal.note(event, **fields)
