"""How many jobs of a queue may be held at a time: by all workers together, by each; changeable while jobs run.

Enforced inside the script that takes jobs. A slot is free again when its job ends, goes back or is rescued, all of
which are steps of the same kind, so no slot outlives its holder. A lower limit ends nothing: it counts from the next
take on.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from jobworker.errors import ConfigurationError
from jobworker.protocol.keys import Keys


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """``cluster``: jobs that all workers together may hold; ``worker``: that each may. None is no limit.

    ``blocking``: while any job of the queue is held, queues behind it in a worker's order wait.
    """

    cluster: int | None = None
    worker: int | None = None
    blocking: bool = False

    def __post_init__(self) -> None:
        for name, limit in (("cluster", self.cluster), ("worker", self.worker)):
            if limit is not None and limit < 0:
                raise ConfigurationError(f"the limit by {name} is {limit}; it is a whole number from 0 on")

    def written(self) -> str:
        """As ``_take.lua`` reads it."""
        shown = ["" if limit is None else str(limit) for limit in (self.cluster, self.worker)]
        return "|".join((*shown, "1" if self.blocking else ""))

    @classmethod
    def read(cls, text: str) -> QueueLimit:
        """What `written` wrote.

        Raises:
            ValueError: something else.
        """
        cluster, worker, blocking = text.split("|")
        return cls(int(cluster) if cluster else None, int(worker) if worker else None, blocking == "1")


async def set_limit(redis: Redis, keys: Keys, queue: str, limit: QueueLimit) -> None:
    """From the next take on the limit holds for the queue; one that limits nothing is forgotten."""
    if limit == QueueLimit():
        await redis.hdel(keys.limits, queue)
    else:
        await redis.hset(keys.limits, queue, limit.written())


async def limits(redis: Redis, keys: Keys) -> dict[str, QueueLimit]:
    """All queues that have a limit."""
    raw = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(keys.limits))
    return {queue.decode(): QueueLimit.read(limit.decode()) for queue, limit in raw.items()}


async def inflight(redis: Redis, keys: Keys) -> dict[str, int]:
    """How many jobs of each queue are held by all workers together; queues of which none is are left out."""
    raw = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(keys.inflight))
    return {queue.decode(): int(count) for queue, count in raw.items()}
