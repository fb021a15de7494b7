"""The client for plain code: Django views, scripts, plain jobs in threads. Safe to share between threads."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

import redis

from jobworker.client import wire
from jobworker.client.connection import connect_sync
from jobworker.client.control import carry_out
from jobworker.client.middleware import ClientMiddleware, Departure, departure
from jobworker.client.outbox import Outbox, outbox_for
from jobworker.client.push import Push, Pushes, chunks, due
from jobworker.errors import PushBufferFull
from jobworker.protocol import control
from jobworker.protocol.control import ControlAnswer, Wanted
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId, TimeFormat
from jobworker.protocol.progress import ERRORS_AT_ONCE, JobProgress, failed_rows, job_progress


class SyncClient:
    """`Client` for plain code, with the same methods and the same promises."""

    def __init__(
        self,
        redis: redis.Redis | str,
        key_prefix: str = "",
        *,
        time_format: TimeFormat = "seconds",
        reliable_push: bool | int | Outbox = False,
        middleware: Sequence[ClientMiddleware] = (),
    ) -> None:
        self._redis = connect_sync(redis, key_prefix) if isinstance(redis, str) else redis
        self._keys = Keys(key_prefix)
        self._outbox = outbox_for(redis, key_prefix, reliable_push)
        self._middleware = middleware
        self._pushes = Pushes(self._keys, time_format, guarded=self._outbox is not None)

    def enqueue(
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
            return (self._depart(departure(self._middleware, kind, [args], time.time())))[0]
        made = self._pushes.one(kind, args, time.time())
        self._send(made)
        return made.jids[0]

    def enqueue_many(
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
                    jids += self._depart(departure(self._middleware, kind, chunk, time.time()))
            except PushBufferFull as error:
                error.accepted = (*filter(None, jids), *error.accepted)
                raise
            return jids
        made = self._pushes.many(kind, args_of_each, time.time)
        if self._outbox is None:
            wire.send_each(self._redis, made, lambda sent: jids.extend(sent.jids))
            return jids
        try:
            for each in made:
                self._send(each)
                jids += each.jids
        except PushBufferFull as error:
            error.accepted = tuple(jids)
            raise
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
            return (self._depart(departure(self._middleware, kind, [args], now, due(now, when))))[0]
        made = self._pushes.later(kind, args, now, when)
        self._send(made)
        return made.jids[0]

    def cancel(self, jid: str) -> ControlAnswer:
        """As `Client.cancel`."""
        return carry_out(self._redis, control.ask(self._keys, jid, Wanted.CANCEL))

    def pause(self, jid: str) -> ControlAnswer:
        """As `Client.pause`."""
        return carry_out(self._redis, control.ask(self._keys, jid, Wanted.PAUSE))

    def resume(self, jid: str) -> ControlAnswer:
        """As `Client.resume`."""
        return carry_out(self._redis, control.ask(self._keys, jid, Wanted.RESUME))

    def progress(self, jid: str, *, errors_after: int = 0, errors: int | None = ERRORS_AT_ONCE) -> JobProgress | None:
        """As `Client.progress`."""
        steps = job_progress(self._keys, jid, errors_after=errors_after, errors=errors)
        return carry_out(self._redis, steps)

    def failed_rows(self, jid: str) -> tuple[range, ...]:
        """As `Client.failed_rows`."""
        return carry_out(self._redis, failed_rows(self._keys, jid))

    def _depart(self, steps: Departure) -> list[JobId]:
        try:
            load = next(steps)
            while True:
                try:
                    self._send(self._pushes.of(load.jids, load.queue, load.payloads, load.due))
                except BaseException as error:  # noqa: BLE001  # the middleware hears of it, and lets it out
                    load = steps.throw(error)
                else:
                    load = next(steps)
        except StopIteration as end:
            return cast("list[JobId]", end.value)

    def _send(self, push: Push) -> None:
        if self._outbox is None:
            wire.send(self._redis, push)
            return
        with self._outbox.attempt(push) as now:
            if now:
                wire.send(self._redis, push)

    def close(self) -> None:
        """Close its connections, after a second at most in which jobs that wait for Redis may still reach it."""
        if self._outbox is not None and self._outbox.jobs:
            self._outbox.drain()
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
