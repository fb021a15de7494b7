"""The client for plain code: Django views, scripts, plain jobs in threads. Safe to share between threads."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import redis
from redis.exceptions import NoScriptError

from jobworker.client import push
from jobworker.client.connection import connect_sync
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId
from jobworker.protocol.scripts import ENQUEUE


class SyncClient:
    """`Client` for plain code, with the same methods and the same promises."""

    def __init__(self, redis: redis.Redis | str, key_prefix: str = "") -> None:
        self._redis = connect_sync(redis) if isinstance(redis, str) else redis
        self._keys = Keys(key_prefix)

    def enqueue(
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
        self._push(queue, [push.enqueued(job, now)])
        return job.jid

    def enqueue_many(
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
            self._push(queue, [push.enqueued(job, now) for job in jobs])
            jids += [job.jid for job in jobs]
        return jids

    def schedule(
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
        self._redis.zadd(self._keys.schedule, {job.to_json(): push.due(now, when)})
        return job.jid

    def close(self) -> None:
        """Close its connections."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _push(self, queue: str, payloads: Sequence[bytes]) -> None:
        keys = [self._keys.queues, self._keys.queue(queue), self._keys.wake(queue)]
        try:
            self._redis.evalsha(ENQUEUE.digest, len(keys), *keys, queue, *payloads)
        except NoScriptError:
            self._redis.eval(ENQUEUE.source, len(keys), *keys, queue, *payloads)
