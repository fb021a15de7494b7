"""The client for asyncio code."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

from redis.asyncio import Redis

from jobworker.client import wire
from jobworker.client.connection import connect
from jobworker.client.control import carry_out_async
from jobworker.client.middleware import ClientMiddleware, Departure, departure
from jobworker.client.outbox import Outbox, outbox_for
from jobworker.client.push import Push, Pushes, chunks, due
from jobworker.errors import PushBufferFull
from jobworker.protocol import control
from jobworker.protocol.control import ControlAnswer, Wanted
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId, TimeFormat
from jobworker.protocol.progress import ERRORS_AT_ONCE, JobProgress, failed_rows, job_progress


class Client:
    """Puts jobs into Redis by name, for producers that do not import the jobs.

    A push that raises a connection error may have happened: a producer that pushes again may enqueue twice. With
    ``reliable_push`` (True for 1,000 jobs, or a number) jobs wait in this process instead while Redis is away, and are
    enqueued once and in order when it is back; it needs the address of Redis, not a connection.
    ``time_format`` of payloads is ``seconds``, which all Sidekiqs read, or ``milliseconds``, as from Sidekiq 8 on.
    ``middleware`` surrounds every push: see `jobworker.client.middleware`. For a job that one stopped, the answer is
    `NOT_PUSHED` in place of a jid.
    """

    def __init__(
        self,
        redis: Redis | str,
        key_prefix: str = "",
        *,
        time_format: TimeFormat = "seconds",
        reliable_push: bool | int | Outbox = False,
        middleware: Sequence[ClientMiddleware] = (),
    ) -> None:
        self._redis = connect(redis, key_prefix) if isinstance(redis, str) else redis
        self._keys = Keys(key_prefix)
        self._outbox = outbox_for(redis, key_prefix, reliable_push)
        self._middleware = middleware
        self._pushes = Pushes(self._keys, time_format, guarded=self._outbox is not None)

    async def enqueue(
        self,
        job_class: str,
        args: Sequence[Any] = (),
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> JobId:
        """Enqueue one job; its jid. ``fields`` are further fields of its payload, such as ``dead`` or ``tags``.

        Raises:
            ArgumentsNotJSON: an argument cannot travel as JSON.
            ConfigurationError: no worker could use an option, or a field looks like one that is misspelt.
            PushBufferFull: with `reliable_push`, while Redis is away.
        """
        kind = self._pushes.kind(job_class, queue, retry, fields, signature)
        if self._middleware:
            return (await self._depart(departure(self._middleware, kind, [args], time.time())))[0]
        made = self._pushes.one(kind, args, time.time())
        await self._send(made)
        return made.jids[0]

    async def enqueue_many(
        self,
        job_class: str,
        args_of_each: Iterable[Sequence[Any]],
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> list[JobId]:
        """Enqueue one job for each list of arguments, a thousand in a network crossing; their jids in order.

        Raises:
            ArgumentsNotJSON: an argument cannot travel; the chunks before its own are already enqueued.
            PushBufferFull: with `reliable_push`, while Redis is away; it tells which jobs were accepted before.
        """
        kind = self._pushes.kind(job_class, queue, retry, fields, signature)
        jids: list[JobId] = []
        if self._middleware:
            try:
                for chunk in chunks(args_of_each):
                    jids += await self._depart(departure(self._middleware, kind, chunk, time.time()))
            except PushBufferFull as error:
                error.accepted = (*filter(None, jids), *error.accepted)
                raise
            return jids
        made = self._pushes.many(kind, args_of_each, time.time)
        if self._outbox is None:
            await wire.send_each_async(self._redis, made, lambda sent: jids.extend(sent.jids))
            return jids
        try:
            for each in made:
                await self._send(each)
                jids += each.jids
        except PushBufferFull as error:
            error.accepted = tuple(jids)
            raise
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
        **fields: Any,
    ) -> JobId:
        """Enqueue one job later: at a time with a zone, or after so long (seconds or timedelta); its jid.

        Raises:
            ArgumentsNotJSON: an argument cannot travel as JSON.
            ConfigurationError: no worker could use an option, or a field looks like one that is misspelt.
            PushBufferFull: with `reliable_push`, while Redis is away.
            ValueError: the time has no zone.
        """
        kind = self._pushes.kind(job_class, queue, retry, fields, signature)
        now = time.time()
        if self._middleware:
            return (await self._depart(departure(self._middleware, kind, [args], now, due(now, when))))[0]
        made = self._pushes.later(kind, args, now, when)
        await self._send(made)
        return made.jids[0]

    async def cancel(self, jid: str) -> ControlAnswer:
        """End an iterating job: after the item that it is at, or when it runs next; `on_cancel` is called then.

        It cannot be undone. The answer says how the job stood, and whether there is anything left that can obey.

        Raises:
            RedisError: Redis is away, and what was asked may have happened; it may be asked again.
        """
        return await carry_out_async(self._redis, control.ask(self._keys, jid, Wanted.CANCEL))

    async def pause(self, jid: str) -> ControlAnswer:
        """Have an iterating job rest from the item on that it is at, or before its first one, until it is resumed.

        It leaves its worker and its queue, and loses nothing. Answers and raises as `cancel`.
        """
        return await carry_out_async(self._redis, control.ask(self._keys, jid, Wanted.PAUSE))

    async def resume(self, jid: str) -> ControlAnswer:
        """Have a paused job go on: it becomes the first of its queue. Answers and raises as `cancel`."""
        return await carry_out_async(self._redis, control.ask(self._keys, jid, Wanted.RESUME))

    async def progress(
        self, jid: str, *, errors_after: int = 0, errors: int | None = ERRORS_AT_ONCE
    ) -> JobProgress | None:
        """How far an iterating job is, while it runs and for a time after it; None if it never ran, or is long over.

        ``errors`` rows with their messages, those with higher numbers than ``errors_after``; None for all there are.
        """
        steps = job_progress(self._keys, jid, errors_after=errors_after, errors=errors)
        return await carry_out_async(self._redis, steps)

    async def failed_rows(self, jid: str) -> tuple[range, ...]:
        """The numbers of all rows with errors, in ascending order, neighbours as one range."""
        return await carry_out_async(self._redis, failed_rows(self._keys, jid))

    async def _depart(self, steps: Departure) -> list[JobId]:
        try:
            load = next(steps)
            while True:
                try:
                    await self._send(self._pushes.of(load.jids, load.queue, load.payloads, load.due))
                except BaseException as error:  # noqa: BLE001  # the middleware hears of it, and lets it out
                    load = steps.throw(error)
                else:
                    load = next(steps)
        except StopIteration as end:
            return cast("list[JobId]", end.value)

    async def _send(self, push: Push) -> None:
        if self._outbox is None:
            await wire.send_async(self._redis, push)
            return
        with self._outbox.attempt(push) as now:
            if now:
                await wire.send_async(self._redis, push)

    async def close(self) -> None:
        """Close its connections, after a second at most in which jobs that wait for Redis may still reach it."""
        if self._outbox is not None and self._outbox.jobs:
            await asyncio.to_thread(self._outbox.drain)
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
