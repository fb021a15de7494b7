"""The client for asyncio code."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis

from jobworker.client import push
from jobworker.client.connection import connect
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId
from jobworker.protocol.scripts import FleetScripts


class Client:
    """Puts jobs into Redis by name, for producers that do not import the jobs.

    A push that raises a connection error may have happened: a producer that pushes again may enqueue twice.
    """

    def __init__(self, redis: Redis | str, key_prefix: str = "") -> None:
        self._redis = connect(redis) if isinstance(redis, str) else redis
        self._keys = Keys(key_prefix)
        self._scripts = FleetScripts(self._redis, self._keys)

    async def enqueue(
        self,
        job_class: str,
        args: Sequence[Any] = (),
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
    ) -> JobId:
        """Enqueue one job; its jid.

        Raises:
            ArgumentsNotJSON: an argument cannot travel as JSON.
        """
        now = time.time()
        job = push.build(job_class, args, queue=queue, retry=retry, now=now, signature=signature)
        await self._scripts.enqueue(queue, [push.enqueued(job, now)])
        return job.jid

    async def enqueue_many(
        self,
        job_class: str,
        args_of_each: Iterable[Sequence[Any]],
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
    ) -> list[JobId]:
        """Enqueue one job for each list of arguments, a thousand in a network crossing; their jids in order.

        Raises:
            ArgumentsNotJSON: an argument cannot travel; the chunks before its own are already enqueued.
        """
        jids: list[JobId] = []
        for chunk in push.chunks(args_of_each):
            now = time.time()
            jobs = [
                push.build(job_class, args, queue=queue, retry=retry, now=now, signature=signature) for args in chunk
            ]
            await self._scripts.enqueue(queue, [push.enqueued(job, now) for job in jobs])
            jids += [job.jid for job in jobs]
        return jids

    async def schedule(
        self,
        when: datetime | timedelta | float,
        job_class: str,
        args: Sequence[Any] = (),
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
    ) -> JobId:
        """Enqueue one job later: at a time with a zone, or after so long (seconds or timedelta); its jid.

        Raises:
            ArgumentsNotJSON: an argument cannot travel as JSON.
            ValueError: the time has no zone.
        """
        now = time.time()
        job = push.build(job_class, args, queue=queue, retry=retry, now=now, signature=signature)
        await self._redis.zadd(self._keys.schedule, {job.to_json(): push.due(now, when)})
        return job.jid

    async def close(self) -> None:
        """Close its connections."""
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
